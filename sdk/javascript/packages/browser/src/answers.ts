// What an answer of the server means for a batch, and how long to wait before the next attempt. Pure.

/** Milliseconds that a server may make us wait at most. */
const LONGEST = 300_000

/** Says nothing about the batch: no connection or timeout (0), redirects (never followed), 429, 503. Tried until it gets through. */
export const uncounted = (status: number): boolean => /^(0|3..|429|503)$/.test(status as unknown as string)

/** Worth another attempt, `maxRetries` times at most. */
export const counted = (status: number): boolean =>
  /^(408|425|460|5(?!01|05|11)..)$/.test(status as unknown as string)

/** Milliseconds that `Retry-After` (seconds or a date), else `X-RateLimit-Reset`, asks for; 0 when it says nothing sensible. */
export function retryAfter(headers: Headers, now: number): number {
  const text = (headers.get('Retry-After') || headers.get('X-RateLimit-Reset')) as string // or null, which is no date
  // What is neither, as "-5" or "soon", is no date of the future either.
  const wait = +text > 0 ? +text * 1000 : Date.parse(text) - now
  return wait > 0 ? Math.min(LONGEST, wait) : 0
}

/** Milliseconds before attempt `attempt` + 1: full jitter, doubling from half a second to a minute. */
export const backoff = (attempt: number, random: number): number =>
  random * Math.min(60_000, 500 * 2 ** (attempt - 1))
