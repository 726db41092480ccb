# Builds that come out the same each time, and others: realiser's TestModesBesideNix.
let
  make = name: script: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-ec" script ]; };
  ca = name: script: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-ec" script ]; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
in rec {
  ca-same = ca "ca-same" "echo same $out > $out";
  ca-above = ca "ca-above" "echo ${ca-same} > $out";
  ca-changing = ca "ca-changing" "read u < /proc/sys/kernel/random/uuid; echo $u > $out";
  same = make "same" "echo same > $out";
  changing = make "changing" "read u < /proc/sys/kernel/random/uuid; echo $u > $out";
  failing = make "failing" "mkdir $out; echo half > $out/made; echo dir > left; exit 1";
}
