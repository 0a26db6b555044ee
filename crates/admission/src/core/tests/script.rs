//! A small language for tests: one step a line, what it leads to behind `->`.
//!
//! Owners are one letter. Modes: S access share, R row exclusive, H share, X access exclusive.
//! A demand is `cost/memory`. Without `->`, the step must succeed and decide nothing else.
//!
//! ```text
//! queue q0 slots=1            makes or alters it; also cost= memory= max_queued= overcommit
//! a slot q0                   -> granted, waits, or refused: why
//! a slot q0 4/2               with its demand known
//! a reads q0                  goes on with what has a slot: takes a share of it
//! a charge q0 4/2             -> charged, or does not fit
//! a aside q0 4/2 r0:X         steps aside and gives these locks back
//! a lock r0:X r1:S            also: nowait
//! a frees q0                  also: uncharges q0 4/2, unlocks r0:X, cancels, ends
//! why a                       -> place: reason
//! drop q0
//! ```

use std::collections::BTreeMap;

use super::super::*;
use crate::LockMode;

#[derive(Clone, Debug, PartialEq)]
enum Claim {
    Slot(QueueId),
    Charge(QueueId, Demand),
    Lock(LockRequest),
}

#[derive(Default)]
struct Script {
    core: Core,
    effects: Effects,
    held: BTreeMap<Owner, Vec<Claim>>,
    wanted: BTreeMap<Ticket, Vec<Claim>>,
}

/// Runs a script; then every owner ends, and the core must be empty. Returns it for a last look.
pub fn run(text: &str) -> Core {
    let mut script = Script::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (step, expected) = line.split_once("->").unwrap_or((line, ""));
        let said = script.step(&step.split_whitespace().collect::<Vec<_>>());
        let plain = ["granted", "charged"].contains(&said.as_str()) && expected.is_empty();
        assert!(plain || said == expected.trim(), "{line}\nbut: {said}");
        script.core.check_settled();
    }
    let seen = script.core.clone();
    for owner in script.held.keys().copied().collect::<Vec<_>>() {
        script.end(owner);
    }
    assert!(script.core.is_idle(), "something is kept");
    for queue in script.core.queues() {
        assert_eq!((queue.slots, queue.taken), (0, Demand::default()));
    }
    seen
}

fn id(word: &str) -> u32 {
    word[1..].parse().expect("a letter and a number")
}

fn demand(word: &str) -> Demand {
    let (cost, memory) = word.split_once('/').expect("cost/memory");
    Demand {
        cost: Cost::new(cost.parse().expect("a cost")),
        memory_bytes: memory.parse().expect("bytes"),
    }
}

fn lock(word: &str) -> LockRequest {
    let (relation, mode) = word.split_once(':').expect("relation:mode");
    let mode = match mode {
        "S" => LockMode::AccessShare,
        "R" => LockMode::RowExclusive,
        "H" => LockMode::Share,
        "X" => LockMode::AccessExclusive,
        _ => panic!("no mode {mode}"),
    };
    (RelationId(id(relation)), mode)
}

fn limits(words: &[&str]) -> Limits {
    let mut limits = Limits::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, "0"));
        let value: u32 = value.parse().expect("a number");
        match name {
            "slots" => limits.active_statements = Some(value),
            "cost" => limits.max_cost = Some(Cost::new(value.into())),
            "memory" => limits.memory_limit_bytes = Some(value.into()),
            "max_queued" => limits.max_queued = Some(value),
            "min" => limits.min_cost = Cost::new(value.into()),
            "overcommit" => limits.cost_overcommit = true,
            _ => panic!("no limit {name}"),
        }
    }
    limits
}

fn name(owner: Owner) -> char {
    char::from(owner.0 as u8)
}

fn names(owners: &[Owner]) -> String {
    owners.iter().map(|owner| name(*owner)).collect()
}

fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoQueue => "refused: no queue".into(),
        Refusal::QueueFull { waiting, limit } => format!("refused: {waiting} of {limit} wait"),
        Refusal::TooCostly { cost, limit } => format!("refused: {cost} of {limit}"),
        Refusal::LockNotAvailable { relation } => format!("refused: r{} is locked", relation.0),
        Refusal::Deadlock { cycle } => {
            let mut cycle: Vec<Owner> = cycle.iter().map(|(owner, _)| *owner).collect();
            cycle.sort();
            format!("deadlock of {}", names(&cycle))
        }
    }
}

impl Script {
    fn step(&mut self, words: &[&str]) -> String {
        let mut said = match words {
            ["queue", queue, rest @ ..] => {
                let queue = QueueId(id(queue));
                self.core.set_limits(queue, limits(rest), &mut self.effects);
                Vec::new()
            }
            ["drop", queue] => {
                self.core.drop_queue(QueueId(id(queue)), &mut self.effects);
                Vec::new()
            }
            ["why", owner] => vec![self.why(Owner(owner.as_bytes()[0].into()))],
            [owner, verb, rest @ ..] => {
                let owner = Owner(owner.as_bytes()[0].into());
                if !self.held.contains_key(&owner) {
                    self.core.begin(owner);
                    self.held.insert(owner, Vec::new());
                }
                self.verb(owner, verb, rest)
            }
            _ => panic!("what is {words:?}?"),
        };
        said.extend(self.deliver());
        said.join(", ")
    }

    fn verb(&mut self, owner: Owner, verb: &str, rest: &[&str]) -> Vec<String> {
        let queue = || QueueId(id(rest[0]));
        let locks = |words: &[&str]| words.iter().map(|w| lock(w)).collect::<Vec<_>>();
        let said = match verb {
            "slot" => {
                let demand = rest.get(1).map(|word| demand(word));
                let mut claims = vec![Claim::Slot(queue())];
                claims.extend(demand.map(|d| Claim::Charge(queue(), d)));
                let outcome = self.core.slot(owner, queue(), demand, &mut self.effects);
                self.outcome(owner, outcome, claims)
            }
            "reads" => {
                let outcome = self.core.share(owner, queue(), &mut self.effects);
                self.outcome(owner, outcome, vec![Claim::Slot(queue())])
            }
            "charge" => {
                let demand = demand(rest[1]);
                match self.core.charge(owner, queue(), demand) {
                    Ok(true) => {
                        self.hold(owner, vec![Claim::Charge(queue(), demand)]);
                        "charged".into()
                    }
                    Ok(false) => "does not fit".into(),
                    Err(refusal) => refused(&refusal),
                }
            }
            "aside" => {
                let (demand, own) = (demand(rest[1]), locks(&rest[2..]));
                self.lose(owner, &Claim::Slot(queue()));
                own.iter().for_each(|l| self.lose(owner, &Claim::Lock(*l)));
                let core = &mut self.core;
                let outcome = core.step_aside(owner, queue(), demand, &own, &mut self.effects);
                let claims = vec![Claim::Slot(queue()), Claim::Charge(queue(), demand)];
                self.outcome(owner, outcome, claims)
            }
            "lock" => {
                let locks = locks(rest);
                let outcome = self.core.lock(owner, &locks, &mut self.effects);
                self.outcome(owner, outcome, locks.into_iter().map(Claim::Lock).collect())
            }
            "nowait" => {
                let locks = locks(rest);
                let outcome = self.core.lock_now(owner, &locks);
                self.outcome(owner, outcome, locks.into_iter().map(Claim::Lock).collect())
            }
            "frees" => self.give_back(owner, &Claim::Slot(queue())),
            "uncharges" => self.give_back(owner, &Claim::Charge(queue(), demand(rest[1]))),
            "unlocks" => {
                let locks = locks(rest);
                locks
                    .iter()
                    .for_each(|l| self.lose(owner, &Claim::Lock(*l)));
                self.core.give_back_locks(owner, &locks, &mut self.effects);
                String::new()
            }
            "cancels" => {
                let ticket = self.core.wait_of(owner).expect("it waits");
                self.wanted.remove(&ticket);
                assert!(self.core.cancel(ticket, &mut self.effects));
                String::new()
            }
            "ends" => return self.end(owner),
            _ => panic!("what is {verb}?"),
        };
        Vec::from_iter((!said.is_empty()).then_some(said))
    }

    fn outcome(&mut self, owner: Owner, outcome: Outcome, claims: Vec<Claim>) -> String {
        match outcome {
            Outcome::Granted => {
                self.hold(owner, claims);
                "granted".into()
            }
            Outcome::Waiting(ticket) => {
                self.wanted.insert(ticket, claims);
                "waits".into()
            }
            Outcome::Refused(refusal) => refused(&refusal),
        }
    }

    fn hold(&mut self, owner: Owner, claims: Vec<Claim>) {
        self.held.get_mut(&owner).expect("begun").extend(claims);
    }

    fn lose(&mut self, owner: Owner, claim: &Claim) {
        let held = self.held.get_mut(&owner).expect("begun");
        let i = held.iter().position(|held| held == claim);
        held.remove(i.unwrap_or_else(|| panic!("{owner:?} has no {claim:?}")));
    }

    fn give_back(&mut self, owner: Owner, claim: &Claim) -> String {
        self.lose(owner, claim);
        let (core, effects) = (&mut self.core, &mut self.effects);
        match claim {
            Claim::Slot(queue) => core.give_back_slot(owner, *queue, effects),
            Claim::Charge(queue, demand) => core.give_back_charge(owner, *queue, *demand, effects),
            Claim::Lock(lock) => core.give_back_locks(owner, &[*lock], effects),
        }
        String::new()
    }

    fn end(&mut self, owner: Owner) -> Vec<String> {
        if let Some(ticket) = self.core.wait_of(owner) {
            self.wanted.remove(&ticket);
            self.core.cancel(ticket, &mut self.effects);
        }
        // What is granted meanwhile is not this owner's: it waits for nothing any more.
        while let Some(claim) = self.held[&owner].last().cloned() {
            self.give_back(owner, &claim);
        }
        self.core.end(owner);
        self.held.remove(&owner);
        self.deliver()
    }

    fn deliver(&mut self) -> Vec<String> {
        let effects = std::mem::take(&mut self.effects);
        let said = effects.into_iter().map(|effect| {
            let claims = self.wanted.remove(&effect.ticket).expect("a known wait");
            let who = name(effect.owner);
            match effect.refusal {
                None => {
                    self.hold(effect.owner, claims);
                    format!("{who} granted")
                }
                Some(refusal) => format!("{who} {}", refused(&refusal)),
            }
        });
        said.collect()
    }

    fn why(&self, owner: Owner) -> String {
        let Some(ticket) = self.core.wait_of(owner) else {
            return "does not wait".into();
        };
        let view = self.core.explain(ticket).expect("it waits");
        let reason = match &view.reason {
            Reason::Turn { head, .. } => format!("behind {}", name(*head)),
            Reason::Slots { limit, holders, .. } => {
                format!("{limit} slots of {}", names(&holders.named))
            }
            Reason::Cost {
                needed,
                available,
                holders,
                ..
            } => {
                format!(
                    "cost {needed}, left {available} by {}",
                    names(&holders.named)
                )
            }
            Reason::Idle {
                needed,
                limit,
                holders,
                ..
            } => {
                format!(
                    "cost {needed} above {limit}, not alone but with {}",
                    names(&holders.named)
                )
            }
            Reason::Memory {
                needed_bytes,
                available_bytes,
                holders,
                ..
            } => {
                format!(
                    "memory {needed_bytes}, left {available_bytes} by {}",
                    names(&holders.named)
                )
            }
            Reason::HeldBack { holders, .. } => format!("held back by {}", names(&holders.named)),
            Reason::Lock {
                relation,
                holders,
                ahead,
                ..
            } => {
                let (holders, ahead) = (names(&holders.named), names(&ahead.named));
                format!("r{} held by [{holders}], ahead [{ahead}]", relation.0)
            }
        };
        format!("{}: {reason}", view.place)
    }
}
