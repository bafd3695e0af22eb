// The sender: one batch under way, retries, and what an answer means for each event.
import { backoff, counted, retryAfter, uncounted } from './answers.js'
import type { Ledger } from './ledger.js'
import type { Platform } from './platform.js'
import type { Entry, Queue } from './queue.js'
import { attempt as attempted } from './storage.js'
import type { FlushReport, Settings } from './types.js'

/** Bytes of the events of one request, and of all that may be under way with keepalive (the browsers' own limit is 64 KiB). */
const REQUEST_BYTES = 475_000
const KEEPALIVE_BYTES = 60_000
/** Milliseconds: eleven days. Timers fire at once when they are given more than 2 ** 31 - 1, such as Infinity. */
const LONGEST_TIMER = 1e9

export interface Delivery {
  /** Sends within `delay` milliseconds. */
  wake(delay: number): void
  /** The network is back: the next attempt is now, unless the server asked for a pause. */
  online(): void
  /** Nothing is sent before `until`, milliseconds since 1970. */
  pause(until: number): void
  hold(until: Promise<unknown>): void
  held(): number
  /** The page may go: everything into storage, and off with what keepalive takes; beside a request under way only if this is the `last` moment. */
  hide(last?: unknown): void
  flush(timeout: number): Promise<FlushReport>
}

export function createDelivery(
  { window: win, now, random }: Platform,
  writeKey: string,
  options: Settings,
  queue: Queue,
  ledger: Ledger,
  /** Events that plug-ins still think about. */
  making: () => number,
): Delivery {
  const url = `${(options.host || '').replace(/\/$/, '')}/v1/b`
  const waiters = new Set<() => void>()
  /** Batches taken from the queue; the first one waits for its next attempt. */
  const work: Entry[][] = []
  let busy = 0
  let attempt = 0
  let alive = 0
  let held = 0
  let asked = 0
  let notBefore = 0
  let timer = 0

  const after = (ms: number, run: () => void) => win.setTimeout(run, Math.min(ms, LONGEST_TIMER))

  function wake(delay: number): void {
    if (timer && delay) return
    win.clearTimeout(timer)
    timer = after(Math.max(delay, notBefore - now()), () => {
      timer = 0
      pump()
    })
  }

  function pump(): void {
    if (busy || held) return
    if (now() < notBefore) {
      wake(0)
      return
    }
    const batch = (work.shift() || queue.take(options.flushAt || 1, REQUEST_BYTES)).filter(
      (entry) => !entry.over,
    )
    if (batch[0]) send(batch)
    else if (work[0] || queue.waiting())
      pump() // another page has taken that batch over
    else if (!making()) for (const done of waiters) done()
  }

  /** Usually one at a time; a page that goes cannot wait for the one before. */
  async function send(batch: Entry[]): Promise<void> {
    busy++
    const [again, wait] = await post(batch)
    busy--
    const failed = again.length === 1
    work.unshift(...again)
    attempt = failed ? attempt + 1 : 0
    asked = now() + wait
    if (wait && queue.store) queue.store.pause(asked)
    notBefore = failed ? Math.max(now() + backoff(attempt, random()), asked) : 0
    pump()
  }

  /** One request and its consequences: what is to be sent again, and how long the server asks to wait. Never fails. */
  async function post(batch: Entry[]): Promise<[again: Entry[][], wait: number]> {
    const json = batch.map((entry) => entry.json)
    const sentAt = new Date(now()).toISOString()
    const size = batch.reduce((sum, entry) => sum + entry.bytes + 1, 0)
    const keepalive = !attempt && alive + size < KEEPALIVE_BYTES
    const abort = new AbortController()
    const timeout = after(options.timeout, () => abort.abort())
    let status = 0
    let text = ''
    let wait = 0
    if (keepalive) alive += size
    try {
      const answer = await win.fetch(url, {
        method: 'POST',
        // A text's own Content-Type, text/plain;charset=UTF-8, is one that asks no permission of the server first.
        body: `{"batch":[${json}],"sentAt":"${sentAt}","writeKey":${JSON.stringify(writeKey)}}`,
        keepalive,
        credentials: 'omit',
        redirect: 'manual',
        signal: abort.signal,
      })
      text = await answer.text()
      status = answer.status
      wait = retryAfter(answer.headers, now())
    } catch {
      // no connection, a reset, a timeout: none says anything about the batch
    }
    win.clearTimeout(timeout)
    if (keepalive) alive -= size
    return [settle(batch, status, text), wait]
  }

  /** Decides what the answer decides. Returned is what is to be sent again: nothing, one batch, or two halves. */
  function settle(batch: Entry[], status: number, text: string): Entry[][] {
    const body: Refusal & { rejected?: Refusal[] } = Object(attempted(() => JSON.parse(text)))
    if (uncounted(status)) return [batch]
    if (status === 413 && batch[1]) return [batch.splice(0, Math.ceil(batch.length / 2)), batch]
    if (counted(status)) {
      for (const entry of batch) {
        if (++entry.tries > options.maxRetries) queue.finish(entry, 'dropped', 'retries_exhausted')
        else if (queue.store) queue.store.update(entry)
      }
      return [batch.filter((entry) => !entry.over)].filter((left) => left[0])
    }
    const fine = status < 300
    const refusals = ([] as Refusal[]).concat((fine && body.rejected) || [])
    if (status === 413) body.code = 'event_too_large'
    batch.forEach((entry, n) => {
      const no = fine ? refusals.find((refusal) => Object(refusal).index === n) : body
      if (no) queue.finish(entry, 'rejected', no.code || `http_${status}`, no.message || (fine ? '' : text))
      else queue.finish(entry, 'delivered')
    })
    return []
  }

  return {
    wake,
    pause(until) {
      asked = until
      notBefore = until
    },
    online() {
      notBefore = asked
      wake(0)
    },
    held: () => held,
    hold(until) {
      const release = () => {
        held--
        wake(0)
      }
      held++
      Promise.resolve(until).then(release, release)
    },
    hide(last) {
      if (queue.store) queue.store.hide()
      // Nobody answers, or asked for a pause: storage is the better place.
      if (attempt || held || now() < notBefore || (busy && !last)) return
      const batch = queue.take(options.flushAt, KEEPALIVE_BYTES - alive)
      if (batch[0]) send(batch)
    },
    flush: (timeout) =>
      new Promise((resolve) => {
        const done = () => {
          if (waiters.delete(done)) resolve(ledger.report(queue.pending.size + making()))
        }
        waiters.add(done)
        after(timeout, done)
        pump()
      }),
  }
}

interface Refusal {
  index?: number
  code?: string
  message?: string
}
