//! The locks and flags that threads meet at. Under `--cfg shuttle` they are shuttle's, so that a test
//! can try the interleavings of threads.

#[cfg(not(shuttle))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(shuttle))]
pub(crate) use std::sync::atomic::AtomicBool;

#[cfg(shuttle)]
pub(crate) use for_shuttle::Mutex;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::AtomicBool;

#[cfg(shuttle)]
mod for_shuttle {
    use shuttle::sync::MutexGuard;

    #[derive(Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no test panics under the lock")
        }
    }
}
