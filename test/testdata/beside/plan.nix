# What a dry run is asked about: realiser's TestPlanBesideNix.
let
  make = name: attrs: derivation ({
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-c" "for o in $outputs; do eval d=\\$$o; { echo $deps; yes | head -c 3000000; } > $d; done" ];
    outputs = [ "out" ];
  } // attrs);
in rec {
  leaf = make "leaf" { };
  lib = make "lib" { deps = [ leaf ]; };
  multi = make "multi" { outputs = [ "out" "dev" "doc" ]; deps = [ lib ]; };
  local = make "local" { deps = [ leaf ]; allowSubstitutes = false; };
  structured = make "structured" {
    __structuredAttrs = true;
    allowSubstitutes = false;
    args = [ "-ec" ''out=$(sed -n 's/.*"outputs":{"out":"\([^"]*\)".*/\1/p' .attrs.json); echo > $out'' ];
  };
  fixed = make "fixed" {
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
    outputHash = "0000000000000000000000000000000000000000000000000000";
  };
  source = make "source" { deps = [ (builtins.toFile "text" "some text") fixed ]; };
  top = make "top" { deps = [ lib multi.dev local structured source ]; };
}
