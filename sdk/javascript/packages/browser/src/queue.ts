// The bounded queue: events in order in memory, each with its copy in storage as soon as the page is idle.
import type { Platform } from './platform.js'
import type { Shelf } from './shelf.js'
import type { Outcome, Settings } from './types.js'

const EVENT_BYTES = 32_768
/** Events written to storage in one idle moment. */
const SLICE = 100

export interface Entry {
  /** In storage; empty until it is written there. */
  key: string
  json: string
  size: number
  /** Answers so far that count against `maxRetries`; in storage too, so that a reload does not start anew. */
  tries: number
  /** Decided upon. */
  over?: boolean
  done?: (outcome: Outcome) => void
}

export interface Queue {
  /** Everything that is not decided upon: what waits and what was taken. */
  readonly pending: Set<Entry>
  length(): number
  add(json: string, done?: Entry['done']): void
  /** What storage holds of a tab that has ended. */
  adopt(key: string, text: string): void
  /** The oldest events, within both bounds. They stay pending, and are never given up for want of room. */
  take(events: number, bytes: number): Entry[]
  /** Puts back at the front what `take` gave. */
  back(batch: Entry[]): void
  /** Writes new events to storage. */
  persist(most: number): void
  finish(entry: Entry, status: Outcome['status'], code?: string, message?: string): void
}

export function createQueue(
  platform: Platform,
  options: Settings,
  shelf: Shelf,
  mayStore: () => boolean,
  note: (outcome: Outcome) => void,
): Queue {
  const { window: win } = platform
  const utf8 = new TextEncoder()
  const pending = new Set<Entry>()
  const waiting: Entry[] = []
  const fresh: Entry[] = []
  let bytes = 0
  let planned = false

  function finish(entry: Entry, status: Outcome['status'], code?: string, message?: string): void {
    if (entry.over) return
    entry.over = true
    pending.delete(entry)
    if (entry.key && status !== 'handed_over') shelf.remove(entry.key)
    const { messageId, type } = JSON.parse(entry.json)
    const outcome: Outcome = { status, messageId, type, code, message }
    note(outcome)
    entry.done?.(outcome)
  }

  function put(entry: Entry): void {
    pending.add(entry)
    if (entry.size > EVENT_BYTES) {
      const message = `The event has ${entry.size} bytes of JSON; ${EVENT_BYTES} are allowed.`
      finish(entry, 'rejected', 'event_too_large', message)
      return
    }
    const full = () => waiting.length >= options.maxQueueEvents || bytes + entry.size > options.maxQueueBytes
    while (waiting.length && full() && options.overflow !== 'drop_newest') {
      finish(take(1, Infinity)[0]!, 'dropped', 'queue_full')
    }
    if (full()) {
      finish(entry, 'dropped', 'queue_full')
      return
    }
    waiting.push(entry)
    bytes += entry.size
  }

  function take(events: number, most: number): Entry[] {
    let room = most
    let n = 0
    while (n < events && waiting[n] && waiting[n]!.size < room) room -= waiting[n++]!.size + 1
    const batch = waiting.splice(0, n)
    for (const entry of batch) bytes -= entry.size
    return batch.filter((entry) => !entry.over)
  }

  function persist(most: number): void {
    if (!mayStore()) return
    for (let entry = fresh[0]; entry && most--; entry = fresh[0]) {
      if (!entry.over) {
        const key = shelf.key(platform.uuid())
        if (!shelf.put(key, entry.tries + entry.json)) return // full or blocked: memory has it, the next event tries again
        entry.key = key
      }
      fresh.shift()
    }
  }

  function plan(): void {
    if (planned) return
    planned = true
    const run = () => {
      planned = false
      if (shelf.settled()) persist(SLICE)
      if (fresh.length > SLICE) plan()
    }
    if (win.requestIdleCallback) win.requestIdleCallback(run, { timeout: 1000 })
    else win.setTimeout(run, 100)
  }

  return {
    pending,
    take,
    persist,
    finish,
    length: () => waiting.length,
    add(json, done) {
      const entry: Entry = { key: '', json, size: utf8.encode(json).length, tries: 0, done }
      put(entry)
      fresh.push(entry)
      plan()
    },
    adopt(key, text) {
      const json = text.slice(text.indexOf('{'))
      put({ key, json, size: utf8.encode(json).length, tries: parseInt(text, 10) })
    },
    back(batch) {
      waiting.unshift(...batch)
      for (const entry of batch) bytes += entry.size
    },
  }
}
