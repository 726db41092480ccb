declare A=3
declare _=1
declare _a1=2
declare builder='/bin/sh'
declare -a emptyList=()
declare -A emptyTable=()
declare name='shapes'
declare no=
declare nul=''
declare -a nulls=('' 1  )
declare -A outputs=(['out']='/nix/store/wb5vn4rjrkljlwsxv1hl7fxffrq57vsm-shapes' )
declare system='x86_64-linux'
declare -A table=(['a']=1 ['b']='' ['c']=1 ['d']= ['e']='x' )
declare yes=1
