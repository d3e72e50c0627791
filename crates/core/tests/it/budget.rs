//! Runs `conformance/budget.json`.

use std::collections::HashMap;

use backstay_core::budget::{BudgetOptions, Extra, Ledger, Token};
use serde::Deserialize;

use crate::vectors::{at, once, play};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at_ms: u64,
    calls: Option<u64>,
    draw: Option<Kind>,
    #[serde(default)]
    token: String,
    #[serde(default = "once")]
    times: u64,
    granted: Option<usize>,
    settle: Option<String>,
    refund: Option<String>,
    set: Option<BudgetOptions>,
    available: Option<u64>,
    in_progress: Option<u64>,
    spent: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Retry,
    Hedge,
}

struct Player {
    ledger: Ledger,
    out: HashMap<String, Vec<Token>>,
}

impl Player {
    fn take(&mut self, step: Step) {
        let now = at(step.at_ms);
        for _ in 0..step.calls.unwrap_or(0) {
            self.ledger.on_call(now);
        }
        if let Some(kind) = step.draw {
            let extra = match kind {
                Kind::Retry => Extra::Retry,
                Kind::Hedge => Extra::Hedge,
            };
            let tokens = (0..step.times).filter_map(|_| self.ledger.draw(extra, now));
            let tokens: Vec<Token> = tokens.collect();
            assert_eq!(Some(tokens.len()), step.granted);
            self.out.insert(step.token, tokens);
        }
        for token in self.given_back(step.settle) {
            self.ledger.settle(token, now);
        }
        for token in self.given_back(step.refund) {
            self.ledger.refund(token, now);
        }
        if let Some(options) = step.set {
            self.ledger.set(options).expect("options in range");
        }
        let state = self.ledger.snapshot(now);
        for (expected, found) in [
            (step.available, state.available),
            (step.in_progress, state.extra_in_progress),
            (step.spent, state.extra_spent),
        ] {
            assert_eq!(expected.unwrap_or(found), found, "{state:?}");
        }
    }

    fn given_back(&mut self, name: Option<String>) -> Vec<Token> {
        name.map_or_else(Vec::new, |name| self.out.remove(&name).expect("a token"))
    }
}

/// CALL-14: the ledger decides as the vectors say.
#[test]
fn budget_vectors() {
    let file = include_str!("../../../../conformance/budget.json");
    let begin = |options: BudgetOptions| Player {
        ledger: Ledger::new(options).unwrap(),
        out: HashMap::new(),
    };
    play(file, begin, Player::take);
}
