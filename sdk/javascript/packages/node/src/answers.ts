// What an answer means for the batch, and how long to wait. Pure.

export interface Answer {
  readonly status: number
  readonly body: string
  /** The Retry-After header, else X-RateLimit-Reset. */
  readonly retryAfter: string | undefined
}

export interface Refusal {
  readonly index: number
  readonly code: string
  readonly message: string | undefined
}

export type Verdict =
  | { readonly kind: 'delivered'; readonly rejected: readonly Refusal[] }
  | { readonly kind: 'too_large' }
  | { readonly kind: 'poison'; readonly code: string; readonly message: string | undefined }
  | { readonly kind: 'retry'; readonly counted: boolean; readonly after: number }

const RETRIED = new Set([408, 425, 429, 460])
const HOPELESS = new Set([501, 505, 511])
/** These say that the server is away or busy, not that the batch is bad: no limit but the queue's. */
const SILENT_ABOUT_THE_BATCH = new Set([429, 503])

/** `undefined` is no answer at all: no connection, a reset, a timeout. */
export function judge(answer: Answer | undefined, size: number, now: number): Verdict {
  if (answer === undefined) return { kind: 'retry', counted: false, after: 0 }
  const { status } = answer
  if (status >= 200 && status < 300) return { kind: 'delivered', rejected: rejections(answer.body, size) }
  if (status === 413) return { kind: 'too_large' }
  const after = retryAfter(answer, now)
  // Never followed: a redirect followed as GET looks like success and delivers nothing. Status 0 is one that fetch hides.
  if (status < 400) return { kind: 'retry', counted: false, after }
  if (RETRIED.has(status) || (status >= 500 && !HOPELESS.has(status))) {
    return { kind: 'retry', counted: !SILENT_ABOUT_THE_BATCH.has(status), after }
  }
  const { code, message } = object(answer.body)
  return {
    kind: 'poison',
    code: typeof code === 'string' && code !== '' ? code : `http_${status}`,
    message: typeof message === 'string' ? message : answer.body.slice(0, MESSAGE_CHARS),
  }
}

/** Of an answer that is not the collector's, such as a proxy's page. */
const MESSAGE_CHARS = 300

/** The events that the collector's answer to a partly good batch names, by their place in it. */
function rejections(body: string, size: number): Refusal[] {
  if (!body.includes('"rejected"')) return []
  const { rejected } = object(body)
  if (!Array.isArray(rejected)) return []
  return rejected
    .filter((item) => Number.isInteger(item?.index) && item.index >= 0 && item.index < size)
    .map(({ index, code, message }) => ({
      index,
      code: typeof code === 'string' ? code : 'rejected',
      message: typeof message === 'string' ? message : undefined,
    }))
}

function object(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {} // a proxy's HTML page, or nothing: the status says enough
  }
}

const LONGEST_WAIT = 300_000

/** Milliseconds the server asks for, at most five minutes; 0 where it asks for nothing that can be read. */
function retryAfter(answer: Answer, now: number): number {
  const value = answer.retryAfter?.trim() ?? ''
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : /[a-z]/i.test(value) ? Date.parse(value) - now : 0
  return Number.isNaN(wait) ? 0 : Math.min(LONGEST_WAIT, Math.max(0, wait))
}

/** Milliseconds before attempt `retry` + 1: full jitter, doubling from half a second to a minute. */
export function backoff(retry: number, random: number): number {
  return random * Math.min(60_000, 500 * 2 ** (retry - 1))
}
