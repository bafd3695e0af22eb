// Events that wait: JSON texts in order, counted in events and in bytes of UTF-8.
import type { Callback, Kind } from './types.js'

export interface Entry {
  readonly json: string
  readonly bytes: number
  readonly messageId: string
  readonly type: Kind
  readonly callback: Callback | undefined
}

export class Queue {
  private entries: (Entry | undefined)[] = []
  private head = 0
  bytes = 0
  /** How many events ever came in, and went out: an event's place in line. */
  added = 0
  removed = 0

  get length(): number {
    return this.entries.length - this.head
  }

  push(entry: Entry): void {
    this.entries.push(entry)
    this.bytes += entry.bytes
    this.added++
  }

  shift(): Entry | undefined {
    const entry = this.entries[this.head]
    if (entry === undefined) return undefined
    this.entries[this.head++] = undefined
    this.bytes -= entry.bytes
    this.removed++
    // Moves the rest rarely, so that leaving costs the same however many wait.
    if (this.head > 1024 && this.head * 2 > this.entries.length) {
      this.entries = this.entries.slice(this.head)
      this.head = 0
    }
    return entry
  }

  /** The next events for one request: at most `events` and `bytes` with the commas between them, but at least one. */
  take(events: number, bytes: number): Entry[] {
    const batch: Entry[] = []
    let size = 0
    while (batch.length < events) {
      const next = this.entries[this.head]
      if (next === undefined || (batch.length > 0 && size + next.bytes + 1 > bytes)) break
      size += next.bytes + 1
      batch.push(this.shift()!)
    }
    return batch
  }
}
