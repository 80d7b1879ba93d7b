//! Commands that run other programs.

use crate::system::processes::Processes;
use crate::system::signals::Signals;

/// Does work that runs programs.
pub(super) fn with<T>(work: impl AsyncFnOnce(&Processes) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let signals = Signals::of_children()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let processes = Processes::start()?;
        signals.listen(processes.clone())?;
        work(&processes).await
    })
}
