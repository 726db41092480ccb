# Structured attributes whose files real Nix 2.8.0 wrote: CASE.in.json is the
# derivation's __json, CASE.attrs.json and CASE.attrs.sh are what the builder saw, CASE.path the output.
# regen.sh makes them.
let
  case = name: attrs: derivation ({
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-ec" ''o=$(sed -n 's/.*"outputs":{"out":"\([^"]*\)".*/\1/p' .attrs.json); mkdir $o; cp .attrs.json .attrs.sh $o/'' ];
    __structuredAttrs = true;
    outputs = [ "out" ];
  } // attrs);
in {
  numbers = case "numbers" {
    whole = 1.0; huge = 1.0e300; negative = -3.0; small = 1.5e-7; tiny = 1.0e-300; list = [ 1.0 2 ]; mixed = [ 1 1.5 ];
    int31 = 2147483647; int32 = 2147483648; below = -2147483649; uint32 = 4294967295; int53 = 9007199254740993;
    int63 = 9223372036854775807; least = -9223372036854775807; beyond = 100000000000000000000.0; large = 4294967297.0;
    half = 0.5; tenth = 0.1; thousandth = 0.001; e4 = 0.0001; e5 = 0.00001; third = 0.333333333333; million = 1234567.0;
    e14 = 123456000000000.0; e15 = 1234560000000000.0; almost = 1.00001; zero = 0; float0 = 0.0;
  };
  strings = case "strings" {
    quotes = "it's \"quoted\" \\ and `so on` $HOME \${x}"; newline = "a\nb"; tab = "a\tb"; return = "a\rb"; empty = "";
    control = builtins.fromJSON "\"\\u0001\\b\\f\\u001f\\u007f\""; unicode = "zażółć 😀 \\u00e9"; slash = "a/b </script>";
    placeholder = "${builtins.placeholder "out"}/lib"; other = builtins.placeholder "dev"; list = [ "a'b" "" " " ];
    table = { "it's" = "a"; "b c" = "d"; "" = "e"; ${builtins.placeholder "out"} = "f"; };
  };
  shapes = case "shapes" {
    nul = null; yes = true; no = false; nulls = [ null true false ]; emptyList = [ ]; emptyTable = { }; nested = [ [ ] ]; deep = { a = { }; };
    tableOfLists = { a = [ 1 ]; }; table = { a = 1; b = null; c = true; d = false; e = "x"; }; fraction = { a = 0.5; };
    _ = 1; _a1 = 2; A = 3; "1a" = 4; "a-b" = 5; "a.b" = 6; "" = 7; "ä" = 8; "a b" = 9; ${builtins.placeholder "out"} = 10;
  };
}
