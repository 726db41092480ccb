declare builder='/bin/sh'
declare control=''
declare empty=''
declare -a list=('a'\''b' '' ' ' )
declare name='strings'
declare newline='a
b'
declare other='/02qcpld1y6xhs5gz9bchpxaw0xdhmsp5dv88lh25r2ss44kh8dxz'
declare -A outputs=(['out']='/nix/store/fxba26ip0c1by3jr7vsnk0ck32bhr1gm-strings' )
declare placeholder='/nix/store/fxba26ip0c1by3jr7vsnk0ck32bhr1gm-strings/lib'
declare quotes='it'\''s "quoted" \ and `so on` $HOME ${x}'
declare return='ab'
declare slash='a/b </script>'
declare system='x86_64-linux'
declare tab='a	b'
declare -A table=(['']='e' ['/nix/store/fxba26ip0c1by3jr7vsnk0ck32bhr1gm-strings']='f' ['b c']='d' ['it'\''s']='a' )
declare unicode='zażółć 😀 \u00e9'
