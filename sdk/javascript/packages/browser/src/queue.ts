// The bounded queue: events in order, in memory. A store, where there is one, keeps a copy of each.
import type { Ledger } from './ledger.js'
import type { Outcome, Settings } from './types.js'

const EVENT_BYTES = 32_768

export interface Entry {
  json: string
  bytes: number
  /** Answers so far that count against `maxRetries`. */
  tries: number
  /** Its key in the store; empty until it is there. */
  key: string
  /** Decided upon. */
  over?: boolean
  done?: ((outcome: Outcome) => void) | undefined
}

/** What outlives the page: see offline.ts. */
export interface Store {
  add(entry: Entry): void
  remove(entry: Entry): void
  /** `tries` has changed. */
  update(entry: Entry): void
  /** The server asked for a pause until then. */
  pause(until: number): void
  /** The page may go. */
  hide(): void
}

export interface Queue {
  /** Everything that is not decided upon: what waits and what was taken. */
  readonly pending: Set<Entry>
  store?: Store
  /** How many wait. */
  waiting(): number
  add(json: string, done?: Entry['done'], key?: string, tries?: number): void
  /** The oldest events, within both bounds. They stay pending, and are never given up for want of room. */
  take(events: number, bytes: number): Entry[]
  finish(entry: Entry, status: Outcome['status'], code?: string, message?: string): void
}

export function createQueue(options: Settings, ledger: Ledger): Queue {
  const utf8 = new TextEncoder()
  const pending = new Set<Entry>()
  const waiting: Entry[] = []
  let total = 0

  const finish: Queue['finish'] = (entry, status, code = '', message = '') => {
    if (entry.over) return
    entry.over = true
    pending.delete(entry)
    if (queue.store && status !== 'handed_over') queue.store.remove(entry)
    const { messageId, type } = JSON.parse(entry.json)
    const outcome = ledger.note(status, messageId, type, code, message)
    if (entry.done) entry.done(outcome)
  }

  const take: Queue['take'] = (events, room) => {
    let n = 0
    while (n < events && waiting[n] && waiting[n]!.bytes < room) room -= waiting[n++]!.bytes + 1
    const batch = waiting.splice(0, n)
    for (const entry of batch) total -= entry.bytes
    return batch
  }

  const queue: Queue = {
    pending,
    waiting: () => waiting.length,
    take,
    finish,
    add(json, done, key = '', tries = 0) {
      const bytes = utf8.encode(json).length
      const entry: Entry = { json, bytes, tries, key, done }
      const full = () => waiting.length >= options.maxQueueEvents || total + bytes > options.maxQueueBytes
      pending.add(entry)
      if (bytes > EVENT_BYTES) {
        finish(entry, 'rejected', 'event_too_large', `${bytes} > ${EVENT_BYTES}`)
        return
      }
      while (waiting[0] && full() && options.overflow !== 'drop_newest') {
        finish(take(1, Infinity)[0]!, 'dropped', 'queue_full')
      }
      if (full()) {
        finish(entry, 'dropped', 'queue_full')
        return
      }
      waiting.push(entry)
      total += bytes
      if (queue.store) queue.store.add(entry)
    },
  }
  return queue
}
