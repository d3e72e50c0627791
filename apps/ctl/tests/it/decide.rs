//! What a person decides while no engine runs.

use backstay_saga::Settled;
use tempfile::tempdir;

use crate::process::{Approval, killed_at};
use crate::run::{done, json, refused};
use crate::sagas::{Charge, go_on};

const BY: [&str; 4] = ["--who", "eva", "--why", "the bank called"];

/// SAG-10: what is decided about a parked instance while nothing runs is done by the next engine, and the log says who and why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_instance_is_decided() {
    for decision in ["retry", "skip", "undo", "abandon"] {
        let folder = tempdir().unwrap();
        let file = folder.path().join("shop.db");
        killed_at(&file, Charge::LoseReply, Approval::Given, "parked");
        let parked = done(&file, &["list", "--parked"]);
        let why = "nobody knows whether the pivot \"charge\" has happened: the bank did not answer";
        assert!(parked.contains(why), "{parked}");
        let shown = done(&file, &["show", "order", "7"]);
        assert!(shown.contains("charge    unknown  1"), "{shown}");

        let words = match decision {
            "skip" => vec!["skip", "order", "7", "charge", "--output", "\"seen\""],
            other => vec![other, "order", "7"],
        };
        let said = json(&file, &[&words[..], &BY].concat());
        assert_eq!(
            (&said["action"], &said["who"]),
            (&decision.into(), &"eva".into())
        );

        let settled = go_on(&file, Charge::Work).await;
        let standing = match (decision, &settled) {
            ("retry", Settled::Done(charged)) if charged == "charged" => "done",
            ("skip", Settled::Done(charged)) if charged == "seen" => "done",
            ("undo", Settled::Undone(_)) => "undone",
            ("abandon", Settled::Abandoned) => "abandoned",
            _ => panic!("{decision}: {settled:?}"),
        };
        let shown = done(&file, &["show", "order", "7"]);
        assert!(shown.contains(&format!("standing  {standing}")), "{shown}");
        let step = if decision == "skip" { " charge" } else { "" };
        let audit = format!("{decision}{step}  by eva: the bank called\n");
        assert!(shown.contains(&audit), "{shown}");
        let export = done(&file, &["export", "order", "7"]);
        assert!(
            export.contains(r#""by":"eva","why":"the bank called""#),
            "{export}"
        );
        let ended = json(&file, &["list", "--ended"]);
        assert_eq!(ended["instances"][0]["standing"], standing);
    }
}

/// SAG-10: what can't be as the instance stands is refused in one line that names it.
#[test]
fn what_can_not_be_is_refused() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("shop.db");
    killed_at(&file, Charge::LoseReply, Approval::Given, "parked");
    let cases = [
        (
            &["show", "order", "8"][..],
            "saga order has no instance \"8\"",
        ),
        (
            &["export", "odrer", "7"],
            "saga odrer has no instance \"7\"",
        ),
        (&["watch", "order", "8"], "saga order has no instance \"8\""),
        (
            &[
                "skip", "order", "7", "charge", "--who", "eva", "--why", "seen",
            ],
            "saga order \"7\": step \"charge\" has an output that step \"mail\" reads: give it as --output",
        ),
        (
            &[
                "skip", "order", "7", "mial", "--who", "eva", "--why", "seen",
            ],
            "saga order \"7\": step = \"mial\": must be a step of the saga",
        ),
        (
            &[
                "skip", "order", "7", "mail", "--who", "eva", "--why", "seen",
            ],
            "saga order \"7\" is parked: step \"mail\" has not begun",
        ),
        (
            &[
                "signal", "order", "7", "aproved", "--who", "eva", "--why", "seen",
            ],
            "saga order \"7\": signal = \"aproved\": must be a signal that the saga waits for",
        ),
        (
            &[
                "signal", "order", "7", "approved", "--value", "\"no\"", "--who", "eva", "--why",
                "seen",
            ],
            "saga order \"7\": signal \"approved\" was sent before with \"yes\", and the first counts",
        ),
    ];
    for (words, what) in cases {
        assert_eq!(
            refused(&file, words),
            format!("backstay: FILE, group default: {what}"),
            "{words:?}"
        );
    }
    // The same again is no mistake.
    let yes = ["signal", "order", "7", "approved", "--value", "\"yes\""];
    let again = done(&file, &[&yes[..], &BY].concat());
    assert_eq!(
        again,
        "saga order \"7\": signal \"approved\" was sent before\n"
    );
    done(&file, &[&["abandon", "order", "7"][..], &BY].concat());
    assert_eq!(
        refused(&file, &[&["retry", "order", "7"][..], &BY].concat()),
        "backstay: FILE, group default: saga order \"7\" is abandoned: it has ended"
    );
}

/// SAG-10: whoever is logged in decides, unless another is named.
#[test]
fn the_user_decides() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("shop.db");
    killed_at(&file, Charge::LoseReply, Approval::Given, "parked");
    let mut command = crate::run::backstay();
    command.env("USER", "kim").env("BACKSTAY_STORE", &file);
    let output = command
        .args(["saga", "undo", "order", "7", "--why", "asked for"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(done(&file, &["show", "order", "7"]).contains("undo  by kim: asked for"));
}
