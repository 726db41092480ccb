# Builds that come out the same each time, and others: realiser's TestModesBesideNix.
let
  make = name: script: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-ec" script ]; };
in {
  same = make "same" "echo same > $out";
  changing = make "changing" "read u < /proc/sys/kernel/random/uuid; echo $u > $out";
  failing = make "failing" "mkdir $out; echo half > $out/made; echo dir > left; exit 1";
}
