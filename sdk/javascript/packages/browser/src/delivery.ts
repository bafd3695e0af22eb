// The sender: one batch under way, retries, and what an answer means for each event.
import { backoff, counted, retryAfter, uncounted } from './answers.js'
import type { Ledger } from './ledger.js'
import type { Platform } from './platform.js'
import type { Entry, Queue } from './queue.js'
import type { Shelf } from './shelf.js'
import type { FlushReport, Settings } from './types.js'

/** Bytes of the events of one request, and of all that may be under way with keepalive (the browsers' own limit is 64 KiB). */
const REQUEST_BYTES = 475_000
const KEEPALIVE_BYTES = 60_000
const TYPE = 'text/plain;charset=UTF-8'

/** Status (0: no answer), text, and milliseconds that the server asks to wait. */
type Answer = [status: number, text: string, wait: number]

export interface Delivery {
  /** Sends within `delay` milliseconds. */
  wake(delay: number): void
  /** The network is back: the next attempt is now, unless the server asked for a pause. */
  online(): void
  hold(until: Promise<unknown>): void
  readonly held: () => boolean
  /** The page may go. `last`: it goes. */
  hide(last: boolean): void
  flush(timeout: number): Promise<FlushReport>
}

export function createDelivery(
  platform: Platform,
  writeKey: string,
  options: Settings,
  queue: Queue,
  shelf: Shelf,
  ledger: Ledger,
  /** Events that plug-ins still think about. */
  making: () => number,
): Delivery {
  const { window: win, now } = platform
  const url = `${options.host}/v1/b`
  /** Batches taken from the queue; the first one is under way or waits for its next attempt. */
  let work: Entry[][] = []
  let waiters: Array<() => void> = []
  let busy = false
  let attempt = 0
  let alive = 0
  let held = 0
  let asked = shelf.pause()
  let notBefore = asked
  let timer = 0
  let due = 0

  function wake(delay: number): void {
    const at = Math.max(now() + delay, notBefore)
    if (timer && due <= at) return
    win.clearTimeout(timer)
    due = at
    timer = win.setTimeout(() => {
      timer = 0
      pump()
    }, at - now())
  }

  function pump(): void {
    if (busy || held) return
    if (now() < notBefore) {
      wake(0)
      return
    }
    work = work.map((part) => part.filter((entry) => !entry.over)).filter((part) => part.length)
    if (!work.length) work = [queue.take(options.flushAt, REQUEST_BYTES)]
    const batch = work.shift()!
    if (batch.length) send(batch)
    else if (!making()) for (const done of waiters.splice(0)) done()
  }

  async function send(batch: Entry[]): Promise<void> {
    busy = true
    const [status, text, wait] = await post(batch, !attempt)
    busy = false
    const again = settle(batch, status, text)
    work.unshift(...again)
    const failed = again.length === 1
    attempt = failed ? attempt + 1 : 0
    asked = now() + wait
    if (wait) shelf.pause(asked)
    notBefore = failed ? Math.max(now() + backoff(attempt, platform.random()), asked) : 0
    pump()
  }

  const bodyOf = (batch: Entry[]) =>
    `{"batch":[${batch.map((entry) => entry.json)}],"sentAt":"${new Date(now()).toISOString()}","writeKey":${JSON.stringify(writeKey)}}`

  /** One request. Never fails. */
  async function post(batch: Entry[], mayLive: boolean): Promise<Answer> {
    const size = batch.reduce((sum, entry) => sum + entry.size + 1, 0)
    const keepalive = mayLive && alive + size < KEEPALIVE_BYTES
    const abort = new AbortController()
    const timeout = win.setTimeout(() => abort.abort(), options.timeout)
    if (keepalive) alive += size
    try {
      const answer = await win.fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': TYPE },
        body: bodyOf(batch),
        keepalive,
        credentials: 'omit',
        redirect: 'manual',
        signal: abort.signal,
      })
      const text = await answer.text()
      return [answer.status, text, retryAfter((name) => answer.headers.get(name), now())]
    } catch {
      return [0, '', 0] // no connection, a reset, a timeout: none says anything about the batch
    } finally {
      win.clearTimeout(timeout)
      if (keepalive) alive -= size
    }
  }

  /** Decides what the answer decides. Returned is what is to be sent again: nothing, one batch, or two halves. */
  function settle(batch: Entry[], status: number, text: string): Entry[][] {
    const body = parse(text)
    if (uncounted(status)) return [batch]
    if (status === 413 && batch[1]) {
      const half = Math.ceil(batch.length / 2)
      return [batch.slice(0, half), batch.slice(half)]
    }
    if (counted(status)) {
      for (const entry of batch) {
        if (++entry.tries > options.maxRetries) queue.finish(entry, 'dropped', 'retries_exhausted')
        else if (entry.key) shelf.put(entry.key, entry.tries + entry.json)
      }
      const left = batch.filter((entry) => !entry.over)
      return left.length ? [left] : []
    }
    const fine = status < 300
    const refusals = ([] as Refusal[]).concat(fine ? (body.rejected ?? []) : [])
    for (const [n, entry] of batch.entries()) {
      const no = fine ? refusals.find((refusal) => refusal?.index === n) : body
      const code = status === 413 ? 'event_too_large' : no?.code || `http_${status}`
      if (no) queue.finish(entry, 'rejected', code, no.message ?? (fine ? '' : text.slice(0, 200)))
      else queue.finish(entry, 'delivered')
    }
    return []
  }

  return {
    wake,
    online() {
      notBefore = asked
      wake(0)
    },
    held: () => held > 0,
    hold(until) {
      held++
      const release = () => {
        held--
        wake(0)
      }
      until.then(release, release)
    },
    hide(last) {
      if (held) return
      queue.persist(Infinity)
      if (attempt) return // the server does not answer: storage is the better place
      if ('keepalive' in Request.prototype) {
        const batch = queue.take(options.flushAt, KEEPALIVE_BYTES - alive)
        if (batch.length) aside(batch)
      } else if (last) {
        // No answer will come: these stay in storage and are sent again by the next page, under the same ids.
        const batch = queue.take(options.flushAt, KEEPALIVE_BYTES)
        win.navigator.sendBeacon?.(url, new Blob([bodyOf(batch)], { type: TYPE }))
        queue.back(batch)
      }
    },
    flush(timeout) {
      return new Promise((resolve) => {
        const done = () => {
          win.clearTimeout(limit)
          waiters = waiters.filter((waiter) => waiter !== done)
          resolve(ledger.report(queue.pending.size + making()))
        }
        const limit = win.setTimeout(done, timeout)
        waiters.push(done)
        pump()
      })
    },
  }

  /** Sends beside the batch under way: a page that goes cannot wait for it. */
  async function aside(batch: Entry[]): Promise<void> {
    const [status, text] = await post(batch, true)
    const again = settle(batch, status, text).flat()
    queue.back(again)
    wake(again.length ? 1000 : 0)
  }
}

interface Refusal {
  index?: number
  code?: string
  message?: string
}

function parse(text: string): Refusal & { rejected?: Refusal[] } {
  try {
    return Object(JSON.parse(text))
  } catch {
    return {} // a plain text answer
  }
}
