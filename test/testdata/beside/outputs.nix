# What happens to outputs: built by real Nix and by Larder in the same test, which compares them.
let
  make = name: script: attrs: derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-ec" script ]; } // attrs);
  structured = name: script: attrs: make name "out=$(sed -n 's/.*\"out\":\"\\([^\"]*\\)\".*/\\1/p' .attrs.json); lib=$(sed -n 's/.*\"lib\":\"\\([^\"]*\\)\".*/\\1/p' .attrs.json); ${script}"
    ({ __structuredAttrs = true; outputs = [ "out" ]; } // attrs);
  ca = name: script: attrs: make name script ({ __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; } // attrs);
  fixed = name: mode: algo: script: make name script { outputHashMode = mode; outputHashAlgo = algo; outputHash = builtins.hashString algo "something else"; };
  low = make "low" "echo low > $out" { };
  mid = make "mid" "echo ${low} > $out" { };
  top = make "top" "mkdir $out; echo ${mid} > $out/file" { };
  # own hash part, without and with what is around it
  part = "part=\${out#/nix/store/}; part=\${part%%-*};";
in {
  # floating outputs
  ca-everywhere = ca "ca-everywhere" ''
    ${part} mkdir -p $out/name-$part/sub $out/b; echo $out$out-$part$part > $out/name-$part/sub/x; ln -s $out/name-$part $out/b/link; ln -s ''${part} $out/b/bare
    cp $out/name-$part/sub/x $out/b/run; chmod +x $out/b/run; printf %s $part > $out/b/exactly; printf %.31s $part > $out/b/short'' { };
  ca-big = ca "ca-big" ''i=0; while [ $i -lt 9000 ]; do echo "$i ''${out}$lib" >> $out; i=$((i + 1)); done; cp $out $lib; echo $lib > $lib'' { outputs = [ "out" "lib" ]; };
  ca-chain = ca "ca-chain" ''echo $b $c $out > $out; echo $c $b ${top} > $b; echo $c > $c; echo $out > $d'' { outputs = [ "out" "b" "c" "d" ]; };
  ca-apart = ca "ca-apart" ''echo same > $out; echo same > $lib; mkdir $dev; ln -s $lib $dev/lib; ln $out $dev/out'' { outputs = [ "out" "dev" "lib" ]; };
  ca-links = ca "ca-links" ''mkdir $out; echo $out > $out/a; ln $out/a $out/b; ln -s a $out/c; ln $out/c $out/d; chmod 4750 $out/a || chmod 0750 $out/a'' { };
  ca-symlink = ca "ca-symlink" ''ln -s $lib $out; ln -s $lib/x $lib'' { outputs = [ "out" "lib" ]; };
  ca-empty = ca "ca-empty" ''mkdir $out; : > $lib'' { outputs = [ "out" "lib" ]; };
  ca-sha512 = ca "ca-sha512" ''echo x > $out'' { outputHashAlgo = "sha512"; };
  ca-md5 = ca "ca-md5" ''echo x > $out'' { outputHashAlgo = "md5"; outputHashMode = "flat"; };
  ca-flat-run = ca "ca-flat-run" ''echo x > $out; chmod +x $out'' { outputHashMode = "flat"; };
  ca-flat-link = ca "ca-flat-link" ''ln -s x $out'' { outputHashMode = "flat"; };
  ca-circle = ca "ca-circle" ''echo $b > $out; echo $c > $b; echo $out > $c'' { outputs = [ "out" "b" "c" ]; };
  ca-checked = ca "ca-checked" ''echo $lib $out > $out; echo x > $lib'' { outputs = [ "out" "lib" ]; allowedReferences = [ "out" "lib" ]; };
  ca-forbidden = ca "ca-forbidden" ''echo $lib > $out; echo x > $lib'' { outputs = [ "out" "lib" ]; disallowedReferences = [ "lib" ]; };

  # fixed outputs
  fixed-flat-sha512 = fixed "fixed-flat-sha512" "flat" "sha512" "echo x > $out";
  fixed-tree-md5 = fixed "fixed-tree-md5" "recursive" "md5" "mkdir $out; echo x > $out/x";
  fixed-self = fixed "fixed-self" "recursive" "sha256" "${part} mkdir $out; echo $out$part > $out/x; ln -s $out $out/link";
  fixed-self-flat = fixed "fixed-self-flat" "flat" "sha1" "echo $out > $out";

  # checks
  sizes = structured "sizes" "echo ${top} > $out; echo $out > $lib" {
    outputs = [ "out" "lib" ];
    outputChecks = { out = { maxSize = 1000; maxClosureSize = 10000; }; lib = { maxSize = 1000; maxClosureSize = 10000; allowedReferences = [ "out" ]; }; };
  };
  size-of-second = structured "size-of-second" "echo ${top} > $out; echo $out > $lib" { outputs = [ "out" "lib" ]; outputChecks.lib.maxSize = 10; };
  closure-of-second = structured "closure-of-second" "echo ${top} > $out; echo $out > $lib" { outputs = [ "out" "lib" ]; outputChecks.lib.maxClosureSize = 500; };
  allowed-chain = make "allowed-chain" "echo ${top} > $out" { allowedRequisites = [ top mid ]; };
  allowed-whole = make "allowed-whole" "echo ${top} $out > $out" { allowedRequisites = [ top mid low ]; };
  disallowed-chain = make "disallowed-chain" "echo ${top} > $out" { disallowedRequisites = [ low ]; };
  disallowed-self-requisite = make "disallowed-self-requisite" "echo $out > $out" { disallowedRequisites = [ "out" ]; };
  structured-self-requisite = structured "structured-self-requisite" "echo x > $out" { outputChecks.out.disallowedRequisites = [ "out" ]; };
  structured-through-sibling = structured "structured-through-sibling" "echo ${mid} > $lib; echo $lib > $out" { outputs = [ "out" "lib" ]; outputChecks.out.disallowedRequisites = [ low ]; };
  structured-sibling-allowed = structured "structured-sibling-allowed" "echo ${mid} > $lib; echo $lib > $out" {
    outputs = [ "out" "lib" ]; outputChecks.out = { allowedReferences = [ "lib" ]; allowedRequisites = [ "lib" "out" mid low ]; };
  };
  no-specifier = make "no-specifier" "echo x > $out" { disallowedRequisites = [ "out" "ou" ]; };
  path-in-store = make "path-in-store" "echo x > $out" { disallowedReferences = [ "${top}/file" ]; };
}
