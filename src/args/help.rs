//! What `-h` says of a verb: one sentence, the flags that most calls need, and real examples, on one screen. `--help` and
//! `slipway help VERB` name every flag.
//!
//! Source: reference interface.md, "Help".

use clap::Command;

/// What `-h` shows of one verb.
struct Short {
    /// Its words, as `canary promote`.
    verb: &'static str,
    /// The flags that it names, by their long names; the others are left to `--help`.
    flags: &'static [&'static str],
    /// Calls as they are typed, without the name of the program.
    examples: &'static [&'static str],
}

/// The verbs as `slipway` alone lists them.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Look", &["get", "describe", "events", "watch", "logs"]),
    ("Decide", &["choose", "set", "markers", "message", "semver", "image", "scan", "check", "receive", "notify"]),
    ("Act", &["canary", "reconcile", "suspend", "resume"]),
    ("Run", &["run", "demo", "loadtester", "install", "uninstall", "completion", "help"]),
];

const STEERING: &[&str] = &["namespace", "yes", "reason", "wait", "timeout"];

const VERBS: &[Short] = &[
    Short {
        verb: "run",
        flags: &["manifests", "state", "kubeconfig", "metrics-server"],
        examples: &[
            "run --manifests ./manifests --state ./slipway.db",
            "run --kubeconfig ~/.kube/config --controllers image,canary",
        ],
    },
    Short { verb: "demo", flags: &["keep", "folder"], examples: &["demo", "demo --keep --folder ./demo"] },
    Short {
        verb: "get",
        flags: &["namespace", "all-namespaces", "watch", "output"],
        examples: &["get all -A", "get canary podinfo -w", "get image policy -o json"],
    },
    Short {
        verb: "describe",
        flags: &["state", "namespace", "output"],
        examples: &["describe canary podinfo", "describe ks/apps -n flux-system", "describe canary podinfo -o json"],
    },
    Short {
        verb: "events",
        flags: &["for", "namespace", "all-namespaces", "types", "since", "output"],
        examples: &["events --for canary/podinfo", "events -A --types Warning --since 24h"],
    },
    Short {
        verb: "watch",
        flags: &["namespace", "all-namespaces", "filter", "interval"],
        examples: &["watch -A", "watch podinfo", "watch -A --filter failed,waiting"],
    },
    Short {
        verb: "logs",
        flags: &["for", "namespace", "level", "follow", "since", "tail"],
        examples: &["logs -f --level warn", "logs --for canary/podinfo --since 1h"],
    },
    Short {
        verb: "reconcile",
        flags: &["namespace", "wait", "timeout"],
        examples: &["reconcile image repository podinfo", "reconcile ks/apps --timeout 1m"],
    },
    Short {
        verb: "suspend",
        flags: &["all", "reason", "namespace"],
        examples: &["suspend canary podinfo --reason freeze", "suspend image update --all -n flux-system"],
    },
    Short {
        verb: "resume",
        flags: &["all", "namespace"],
        examples: &["resume canary podinfo", "resume image update --all -n flux-system"],
    },
    Short {
        verb: "choose",
        flags: &["file", "tags", "namespace", "why-not", "output"],
        examples: &["choose podinfo --why-not 6.0.0", "choose -f policy.yaml --tags tags.txt --all"],
    },
    Short {
        verb: "check",
        flags: &["pre", "takeover", "tags", "ask", "output"],
        examples: &[
            "check clusters/            what Flux or Flagger would refuse or ignore in these manifests",
            "check --pre                can this cluster hold slipway",
            "check                      is the slipway in this cluster well",
            "check --takeover           what would change in place of Flux's controllers and Flagger",
        ],
    },
    Short {
        verb: "semver",
        flags: &["include-prerelease", "output"],
        examples: &["semver '>=1.2 <2' 1.2.0 1.9.9 2.0.0-rc.1", "semver 1.x - --include-prerelease"],
    },
    Short {
        verb: "set",
        flags: &["file", "automation", "dry-run", "diff", "output"],
        examples: &["set ./clusters -f policies.yaml --dry-run --diff", "set ./clusters -f policies.yaml -o json"],
    },
    Short {
        verb: "markers",
        flags: &["file", "output"],
        examples: &["markers ./clusters", "markers ./clusters -f policies.yaml"],
    },
    Short {
        verb: "markers add",
        flags: &["image", "policy", "dry-run", "output"],
        examples: &[
            "markers add ./clusters --image ghcr.io/stefanprodan/podinfo --policy flux-system:podinfo --dry-run",
        ],
    },
    Short {
        verb: "message",
        flags: &["file", "changes", "output"],
        examples: &["message -f automation.yaml --changes changes.json"],
    },
    Short {
        verb: "image",
        flags: &["insecure", "output"],
        examples: &["image ghcr.io/stefanprodan/podinfo", "image localhost:5000/app --insecure -o json"],
    },
    Short {
        verb: "scan",
        flags: &["insecure", "config", "timeout", "output"],
        examples: &["scan ghcr.io/stefanprodan/podinfo", "scan localhost:5000/app --insecure -o json"],
    },
    Short {
        verb: "receive",
        flags: &["file", "request", "receiver", "output"],
        examples: &["receive -f receiver.yaml", "receive -f receiver.yaml -r call.json -o json"],
    },
    Short {
        verb: "notify",
        flags: &["file", "event", "output"],
        examples: &["notify -f alerts.yaml -e event.json", "notify -f alerts.yaml -e event.json -o json"],
    },
    Short {
        verb: "loadtester",
        flags: &["listen", "timeout", "namespace-regexp", "enable"],
        examples: &["loadtester", "loadtester --listen 127.0.0.1:8090 --enable cmd,bash"],
    },
    Short {
        verb: "canary promote",
        flags: &["namespace", "yes", "reason", "wait", "timeout", "full"],
        examples: &["canary promote podinfo --reason 'looks well'", "canary promote podinfo --full --yes --wait"],
    },
    Short {
        verb: "canary rollback",
        flags: &["namespace", "yes", "reason", "wait", "to"],
        examples: &["canary rollback podinfo --reason 'slow checkout'", "canary rollback podinfo --to 6.0.0 --yes"],
    },
    Short {
        verb: "canary pause",
        flags: &["namespace", "yes", "reason", "for"],
        examples: &["canary pause podinfo --for 30m --reason 'a look at the logs'"],
    },
    Short {
        verb: "canary resume",
        flags: STEERING,
        examples: &["canary resume podinfo", "canary resume podinfo --wait"],
    },
    Short { verb: "canary retry", flags: STEERING, examples: &["canary retry podinfo --wait --timeout 1h"] },
    Short { verb: "canary skip", flags: STEERING, examples: &["canary skip podinfo --reason 'approved by phone'"] },
    Short {
        verb: "canary simulate",
        flags: &["file", "scenario", "samples", "prometheus", "since", "output"],
        examples: &[
            "canary simulate -f canary.yaml --scenario script.json",
            "canary simulate -f canary.yaml --prometheus http://127.0.0.1:9090 --since 2h",
        ],
    },
    Short {
        verb: "canary render",
        flags: &["file", "weights", "mirror", "existing", "output"],
        examples: &["canary render -f canary.yaml --weights 90,10"],
    },
    Short {
        verb: "canary weights",
        flags: &["file", "existing", "output"],
        examples: &["canary weights -f canary.yaml --existing routes.yaml"],
    },
    Short {
        verb: "canary queries",
        flags: &["file", "mesh-provider", "standalone", "output"],
        examples: &["canary queries -f canary.yaml"],
    },
    Short {
        verb: "install",
        flags: &["namespace", "controllers", "export"],
        examples: &[
            "install                                          into the cluster of the current context",
            "install --export > slipway.yaml                  print everything, touch nothing",
            "install --controllers image,canary --routers gatewayapi",
            "install -- --concurrent=10 --kube-api-qps=200    with more flags of `slipway run`",
        ],
    },
    Short {
        verb: "uninstall",
        flags: &["namespace", "crds", "yes", "dry-run"],
        examples: &["uninstall --dry-run", "uninstall --crds --yes"],
    },
    Short { verb: "completion", flags: &[], examples: &["completion bash > ~/.slipway-completion"] },
];

/// The command with what `-h` says of its verbs.
pub fn shortened(command: Command) -> Command {
    // What a variable holds now says nothing of the flag, and may be a secret.
    let command = without_values(command);
    let groups = grouped(&command);
    let command = command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}{{after-help}}"
    ));
    VERBS.iter().fold(command, |command, short| {
        let words: Vec<_> = short.verb.split(' ').collect();
        below(command, &words, short)
    })
}

/// The verbs, a line each, below the names of their groups.
fn grouped(command: &Command) -> String {
    let about = |verb: &str| match command.find_subcommand(verb).and_then(Command::get_about) {
        Some(about) => about.to_string(),
        None => "All about a verb".into(),
    };
    let lines = |verbs: &[&str]| verbs.iter().map(|verb| format!("  {verb:<11} {}\n", about(verb))).collect::<String>();
    GROUPS.iter().map(|(name, verbs)| format!("{name}:\n{}\n", lines(verbs))).collect()
}

fn without_values(command: Command) -> Command {
    command.mut_args(|argument| argument.hide_env_values(true)).mut_subcommands(without_values)
}

fn below(command: Command, words: &[&str], short: &Short) -> Command {
    match words {
        [] => of_verb(command, short),
        [first, rest @ ..] => command.mut_subcommand(*first, |verb| below(verb, rest, short)),
    }
}

fn of_verb(verb: Command, short: &Short) -> Command {
    let examples: String = short.examples.iter().map(|example| format!("  slipway {example}\n")).collect();
    verb.mut_args(|argument| {
        let is_shown = argument.get_long().is_none_or(|long| short.flags.contains(&long));
        if is_shown { argument } else { argument.hide_short_help(true) }
    })
    .after_help(format!("Examples:\n{examples}\nMore: slipway help {}", short.verb))
    .after_long_help(format!("Examples:\n{}", examples.trim_end()))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::args::Arguments;

    /// Most lines of `-h`.
    const MOST: usize = 24;

    fn command() -> Command {
        shortened(Arguments::command())
    }

    /// The verbs that people type, each with its words.
    fn verbs(command: &Command, before: &str, found: &mut Vec<(String, Command)>) {
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
            let words = format!("{before}{}", verb.get_name());
            verbs(verb, &format!("{words} "), found);
            let groups_others = verb.is_subcommand_required_set();
            if !groups_others {
                found.push((words, verb.clone()));
            }
        }
    }

    #[test]
    fn the_help_of_every_verb_fits_a_screen_and_shows_its_examples() {
        let mut found = Vec::new();
        verbs(&command(), "", &mut found);
        assert!(found.len() > 30);
        for (words, verb) in found {
            let short = VERBS.iter().find(|short| short.verb == words);
            let short = short.unwrap_or_else(|| panic!("{words} is not in the table"));
            let told = verb.get_arguments().filter(|argument| !argument.is_hide_set());
            let longs: Vec<_> = told.filter_map(|argument| argument.get_long()).collect();
            for flag in short.flags {
                assert!(longs.contains(flag), "{words} has no --{flag}");
            }
            let text = verb.clone().term_width(100).render_help().to_string();
            let lines = text.lines().count();
            assert!(lines <= MOST, "{words}: {lines} lines\n{text}");
            assert!(text.trim_end().ends_with(&format!("\nMore: slipway help {words}")), "{text}");
            let long = verb.clone().render_long_help().to_string();
            for flag in longs {
                assert!(long.contains(&format!("--{flag}")), "{words} --{flag}");
            }
        }
    }

    #[test]
    fn every_verb_stands_in_a_group() {
        let command = command();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let of = GROUPS.iter().filter(|(_, verbs)| verbs.contains(&verb.get_name())).count();
            assert_eq!(of, 1, "{}", verb.get_name());
        }
        let text = command.clone().term_width(80).render_help().to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    /// The words of an example, as a shell would have them; without what is said of it.
    fn typed(example: &str) -> Vec<String> {
        let call = example.split("  ").next().unwrap_or_default();
        let call = call.split(" > ").next().unwrap_or_default();
        let mut words = vec!["slipway".to_owned()];
        for (index, piece) in call.split('\'').enumerate() {
            match index % 2 {
                0 => words.extend(piece.split_whitespace().map(str::to_owned)),
                _ => words.push(piece.to_owned()),
            }
        }
        words
    }

    #[test]
    fn every_example_is_understood() {
        for short in VERBS {
            for example in short.examples {
                assert!(example.starts_with(short.verb), "{example}");
                let matches = command().try_get_matches_from(typed(example));
                let matches = matches.unwrap_or_else(|error| panic!("{example}: {error}"));
                Arguments::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{example}: {error}"));
            }
        }
    }
}
