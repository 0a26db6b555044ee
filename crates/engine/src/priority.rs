//! What the priority of a resource queue means to the operating system.

use forebay_catalog::Priority;

/// How the priorities weigh against each other while CPU is short.
pub(crate) fn weight(priority: Priority) -> i32 {
    match priority {
        Priority::Min => 1,
        Priority::Low => 2,
        Priority::Medium => 5,
        Priority::High => 9,
        Priority::Max => 68,
    }
}

/// Gives the thread that calls this the nice value of `priority`.
///
/// Without privileges a thread only becomes nicer. So [`Priority::Max`] leaves it what it is, and
/// the threads of the other priorities must be made by one that is not nicer than they.
pub(crate) fn take_on(priority: Priority) {
    if let Some(nice) = system::nice(priority) {
        system::become_nice(nice);
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::sync::Once;

    use forebay_catalog::Priority;
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
        set_current_thread_priority,
    };

    /// The nice values to which the kernel gives weights in the ratio of [`super::weight`]: 15, 29,
    /// 70, 137, and 1024 for 0, with which the server was started (`sched_prio_to_weight`).
    pub(super) fn nice(priority: Priority) -> Option<i32> {
        match priority {
            Priority::Min => Some(19),
            Priority::Low => Some(16),
            Priority::Medium => Some(12),
            Priority::High => Some(9),
            Priority::Max => None,
        }
    }

    /// A server that was started nicer than this, without privileges, keeps its own nice value.
    pub(super) fn become_nice(nice: i32) {
        static TOLD: Once = Once::new();
        let set = set_current_thread_priority(numbered(nice));
        if let Err(error) = set {
            TOLD.call_once(|| {
                tracing::warn!(
                    nice,
                    "priorities of resource queues are not in force: the operating system refuses \
                     a thread's nice value: {error:?}"
                );
            });
        }
    }

    /// `thread-priority` numbers priorities from 0 to 99 and makes nice values of the numbers.
    fn numbered(nice: i32) -> ThreadPriority {
        let normal = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        let mut numbers = (0..=99).map(|number| {
            let number = ThreadPriorityValue::try_from(number).expect("0 to 99 are allowed");
            ThreadPriority::Crossplatform(number)
        });
        let found = numbers.find(|number| number.to_posix(normal).is_ok_and(|n| n == nice));
        found.expect("every nice value has a number")
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_nice_value_has_a_number() {
            let normal = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
            for priority in Priority::ALL {
                if let Some(nice) = nice(priority) {
                    assert_eq!(numbered(nice).to_posix(normal).unwrap(), nice);
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::sync::Once;

    use forebay_catalog::Priority;

    /// Where nice values are those of a process, the threads of all queues are equal.
    pub(super) fn nice(priority: Priority) -> Option<i32> {
        static TOLD: Once = Once::new();
        if priority != Priority::Max {
            TOLD.call_once(|| {
                tracing::warn!(
                    "priorities of resource queues are not in force: only Linux has nice values \
                     of threads"
                );
            });
        }
        None
    }

    pub(super) fn become_nice(_: i32) {}
}
