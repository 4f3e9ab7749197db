//! While the disk takes nothing: records in memory, within a bound, until it does again.

use std::sync::Arc;

use super::{Event, Writer};
use crate::delivery::Class;
use crate::delivery::spool::evict;
use crate::delivery::spool::format::Raw;
use crate::delivery::spool::index::{ClassLog, Entry};

impl Writer {
    /// Tries the disk again: what is only in memory goes first, in order.
    pub(super) fn write_unstored(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let Some(why) = disk.broken.take() else { return };
        if let Err(error) = disk.probe() {
            disk.broken = Some(why);
            return tracing::debug!(%error, "the spool's disk still takes nothing");
        }
        // Making room evicts, and what names that is in memory as well: until nothing is left.
        let mut wrote = true;
        while std::mem::take(&mut wrote) {
            for class in Class::ALL {
                let entries: Vec<Arc<Entry>> = {
                    let index = self.shared.lock();
                    let log = &index.classes[class.order()];
                    log.tail.iter().filter(|entry| entry.number >= log.stored).cloned().collect()
                };
                for entry in entries {
                    let json = entry.record.alert.line().as_bytes();
                    let raw = Raw {
                        number: entry.number,
                        accepted: entry.record.accepted,
                        sort: entry.sort,
                        seqs: entry.seqs.clone(),
                        alert: json,
                    };
                    self.make_room(class, json.len());
                    if !self.write(class, &raw, Some(&entry.record.alert)) {
                        return;
                    }
                    self.shared.lock().log(class).wrote(&entry);
                    wrote = true;
                }
            }
        }
        // Before anything says that the disk has it all.
        self.tell_unsaid();
        self.sync(true);
        if self.disk.as_ref().is_some_and(|disk| disk.broken.is_none()) && self.mended() {
            self.shared.lock().broken = false;
            self.events.push(Event::Mended);
        }
    }

    /// Keeps what is only in memory within its bound.
    pub(super) fn bound_memory(&mut self) {
        loop {
            let mut index = self.shared.lock();
            let records: u64 = index.classes.iter().map(ClassLog::unstored).sum();
            let bytes = index.memory_bytes();
            if records <= self.limits.records && bytes <= self.limits.memory {
                return;
            }
            let mut classes = Class::ALL.into_iter().rev();
            let Some(class) = classes.find(|class| index.classes[class.order()].unstored() > 0) else {
                return;
            };
            let order = class.order();
            while let Some((entry, only_here)) = index.log(class).pop() {
                if !only_here {
                    continue;
                }
                evict::of_entry(&index, class, &entry, &mut self.unsaid);
                let next = index.log(class).next;
                for sink in &mut index.sinks {
                    if entry.seq(sink.key).is_some() && !sink.has(order, entry.number) {
                        sink.waiting[order] = sink.waiting[order].saturating_sub(1);
                        // Not past what it has waiting on disk.
                        if sink.cursor.at[order] == entry.number {
                            sink.move_to(order, entry.number + 1, next);
                        }
                    }
                }
                break;
            }
        }
    }
}
