//! A stream that tells how much of it has gone by.

use std::io::{self, Read, Write};

use super::{Progress, Ui};

/// What is read from it, or written to it, moves a bar.
pub struct Metered<S> {
    stream: S,
    meter: Meter,
}

enum Meter {
    Shown(Progress),
    /// Nobody wants to see it yet.
    Hidden {
        ui: Ui,
        label: String,
        total: Option<u64>,
        gone_by: u64,
        begins_at: u64,
    },
}

impl<S> Metered<S> {
    /// Shows it from the first byte on, and before.
    pub fn new(stream: S, progress: Progress) -> Self {
        Self { stream, meter: Meter::Shown(progress) }
    }

    /// Shows it once so many bytes have gone by: whoever looks at a beginning may have other work before the rest.
    pub fn shown_behind(begins_at: u64, stream: S, ui: &Ui, label: String, total: Option<u64>) -> Self {
        Self { stream, meter: Meter::Hidden { ui: ui.clone(), label, total, gone_by: 0, begins_at } }
    }

    /// The stream, no longer watched.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Before a call, so that what takes long is seen while it does.
    fn show(&mut self) {
        if let Meter::Hidden { ui, label, total, gone_by, begins_at } = &self.meter
            && gone_by >= begins_at
        {
            let progress = ui.progress(label, *total);
            progress.add(*gone_by);
            self.meter = Meter::Shown(progress);
        }
    }

    fn add(&mut self, bytes: usize) {
        match &mut self.meter {
            Meter::Shown(progress) => progress.add(bytes as u64),
            Meter::Hidden { gone_by, .. } => *gone_by += bytes as u64,
        }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.show();
        let read = self.stream.read(buffer)?;
        self.add(read);
        Ok(read)
    }
}

impl<W: Write> Write for Metered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.show();
        let written = self.stream.write(bytes)?;
        self.add(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
