// One request over fetch, or over a client of the app's own, and its whole answer.
import type { Answer } from './answers.js'

export interface HttpRequest {
  readonly url: string
  readonly method: 'POST'
  readonly headers: Record<string, string>
  readonly body: string
}

/** The part of a fetch response that is used; Segment's HTTP clients return the same. */
export interface HttpResponse {
  readonly status: number
  readonly statusText?: string
  readonly headers?: { get(name: string): string | null } | Record<string, unknown>
  text?(): Promise<string>
}

export type FetchLike = (
  url: string,
  init: {
    method: 'POST'
    headers: Record<string, string>
    body: string
    signal: AbortSignal
    redirect: 'manual'
  },
) => Promise<HttpResponse>

export type HttpClient =
  | FetchLike
  | { makeRequest(request: HttpRequest & { httpRequestTimeout: number }): Promise<HttpResponse> }

/** Resolves with an answer; rejects where there is none. `signal` gives up. */
export type Transport = (request: HttpRequest, signal: AbortSignal) => Promise<Answer>

export function transport(client: HttpClient | undefined, timeout: number): Transport {
  if (typeof client === 'object') {
    return (request, signal) =>
      within(timeout, signal, async () =>
        read(await client.makeRequest({ ...request, httpRequestTimeout: timeout })),
      )
  }
  const send: Transport = (request, signal) =>
    within(timeout, signal, async (signal) => {
      const { url, method, headers, body } = request
      // fetch is looked up at each request: frameworks and tests replace it.
      const call = client ?? (globalThis.fetch as unknown as FetchLike)
      return read(await call(url, { method, headers, body, signal, redirect: 'manual' }))
    })
  return staleOnce(send)
}

/**
 * A kept connection that the server closed meanwhile (an idle one, a frozen process) fails at the first byte and says
 * nothing about the server: one more attempt at once, on a new connection.
 */
function staleOnce(send: Transport): Transport {
  let kept = false
  return async (request, signal) => {
    const reused = kept
    kept = false
    try {
      const answer = await send(request, signal)
      kept = true
      return answer
    } catch (error) {
      if (!reused || signal.aborted || !closedByPeer(error)) throw error
      return send(request, signal)
    }
  }
}

const CLOSED = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])

function closedByPeer(error: unknown): boolean {
  const { code, cause } = error as { code?: string; cause?: { code?: string } }
  return CLOSED.has(cause?.code ?? code ?? '')
}

/** What timers take at most; beyond it they run at once. */
export const LONGEST_TIMER = 2 ** 31 - 1

/** There was no answer in time. */
export class TimedOut extends Error {}

/** `work` with a time limit, which also holds where it does not listen to its signal. */
async function within<T>(
  ms: number,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  const abort = () => controller.abort(new Error('aborted'))
  const late = () => controller.abort(new TimedOut(`no answer within ${ms} ms`))
  const timer = setTimeout(late, Math.min(ms, LONGEST_TIMER))
  const { signal } = controller
  try {
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
    outer.addEventListener('abort', abort, { once: true })
    if (outer.aborted) abort()
    return await Promise.race([work(signal), aborted])
  } finally {
    clearTimeout(timer)
    outer.removeEventListener('abort', abort)
  }
}

async function read(response: HttpResponse): Promise<Answer> {
  const { headers } = response
  const header = (name: string): string | undefined => {
    if (headers === undefined) return undefined
    const found =
      typeof headers.get === 'function'
        ? headers.get(name)
        : Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1]
    // A client of the app's own may give numbers.
    return found == null ? undefined : String(found)
  }
  return {
    status: response.status,
    // Read to its end, or the connection could not be used again.
    body: String((await response.text?.()) ?? ''),
    retryAfter: header('retry-after') ?? header('x-ratelimit-reset'),
  }
}
