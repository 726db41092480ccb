# What a builder sees: built by real Nix and by Larder in the same test, which compares the outputs.
let
  make = name: script: attrs: derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-ec" script ]; } // attrs);
  structured = name: attrs: derivation ({
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-ec" ''out=$(sed -n 's/.*"outputs":{"out":"\([^"]*\)".*/\1/p' .attrs.json); mkdir $out; cp .attrs.json .attrs.sh $out/'' ];
    __structuredAttrs = true;
    outputs = [ "out" ];
  } // attrs);
  graph = name: attr: make name "cat graph* > $out" { exportReferencesGraph = attr; };
  fixed = { outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "0000000000000000000000000000000000000000000000000000"; };
  dep = make "dep" "mkdir $out; echo dep > $out/file" { };
  dep2 = make "dep2" "echo ${dep} > $out" { };
  two = make "two" "echo ${dep2} $out > $out; echo x > $dev" { outputs = [ "out" "dev" ]; };
  text = builtins.toFile "text" "some text that refers to ${builtins.toFile "other" "text"}";
  bare = x: builtins.unsafeDiscardOutputDependency x.drvPath;
  context = builtins.unsafeDiscardStringContext;
  odd = make "never-built" "exit 1" { };
in {
  # references graphs
  graph-outputs = graph "graph-outputs" [ "graph" two "graph2" two.dev "graph3" text ];
  graph-of-derivation = graph "graph-of-derivation" [ "graph" two.drvPath ];
  graph-of-derivation-alone = graph "graph-of-derivation-alone" [ "graph" (bare odd) ];
  graph-below = graph "graph-below" [ "graph" "${dep}/file" ];
  graph-same-name = graph "graph-same-name" [ "graph" dep "graph" two ];
  graph-nothing = make "graph-nothing" "ls -A > $out" { exportReferencesGraph = [ ]; };
  graph-odd = graph "graph-odd" [ "graph" dep "graph2" ];
  graph-file-name = graph "graph-file-name" [ "../graph" dep ];
  graph-dot-name = graph "graph-dot-name" [ ".graph" dep ];
  graph-no-store-path = graph "graph-no-store-path" [ "graph" "/etc/passwd" ];
  graph-own-output = graph "graph-own-output" [ "graph" (builtins.placeholder "out") ];
  graph-no-input = graph "graph-no-input" [ "graph" (context "${dep}") ];

  structured-graph = structured "structured-graph" { exportReferencesGraph = { graph = [ two ]; one = "${dep}"; none = [ ]; text = [ text dep2 ]; }; };
  structured-graph-of-derivation = structured "structured-graph-of-derivation" { exportReferencesGraph.graph = [ two.drvPath ]; };
  structured-graph-no-input = structured "structured-graph-no-input" { exportReferencesGraph.graph = [ (context "${dep}") ]; };
  structured-graph-number = structured "structured-graph-number" { exportReferencesGraph.graph = [ 1 ]; };
  structured-list-is-no-graph = structured "structured-list-is-no-graph" { exportReferencesGraph = [ "graph" dep ]; };

  # attributes of the wrong type
  structured-boolean = structured "structured-boolean" { __noChroot = "1"; };
  structured-list = structured "structured-list" { requiredSystemFeatures = "kvm"; };
  structured-list-of-numbers = structured "structured-list-of-numbers" { __impureHostDeps = [ 1 ]; };

  # the environment
  environment = make "environment" "env | sort > $out; ls -lnA | sed 's/ [A-Z][a-z][a-z] .*:[0-9][0-9] / /' >> $out; cat $textPath $outPath >> $out" {
    HOME = "/mine"; PATH = "/my/path"; NIX_STORE = "/my/store"; NIX_BUILD_CORES = "77"; NIX_BUILD_TOP = "/my/top"; TMPDIR = "/my/tmp"; TERM = "dumb";
    NIX_LOG_FD = "5"; PWD = "/my/dir"; NIX_OUTPUT_CHECKED = "no"; NIX_ATTRS_JSON_FILE = "/my/attrs"; impureEnvVars = [ "BESIDE" ];
    passAsFile = [ "text" "missing" ]; text = "text with ${builtins.placeholder "out"}\n"; empty = ""; lines = "a\nb"; list = [ 1 true null "x y" ];
  };
  environment-fixed = make "environment-fixed" "env | sort > $out" ({
    TMPDIR = "/my/tmp"; NIX_OUTPUT_CHECKED = "no"; BESIDE = "mine"; impureEnvVars = [ "BESIDE" "BESIDE_UNSET" "TEMP" "TERM" "NIX_LOG_FD" ];
  } // fixed);
  environment-structured = structured "environment-structured" { HOME = "/mine"; passAsFile = [ "text" ]; text = "text"; impureEnvVars = [ "BESIDE" ]; };
}
