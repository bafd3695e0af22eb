// A client that talks to a function instead of a server.
import { Analytics } from '../../src/analytics.js'
import type { Answer } from '../../src/answers.js'
import type { AnalyticsSettings } from '../../src/settings.js'
import type { HttpRequest } from '../../src/transport.js'
import type { Message } from '../../src/types.js'
import { VirtualTime } from './virtual.js'

export const OK: Answer = { status: 200, body: '{"success":true}', retryAfter: undefined }

export interface Offline {
  readonly analytics: Analytics
  readonly time: VirtualTime
  readonly requests: HttpRequest[]
  /** All messages that were sent, in order. */
  readonly messages: () => Message[]
}

/** Ids are m1, m2, ...; time stands still but for `time.until`. */
export function offline(
  settings: Partial<AnalyticsSettings> = {},
  answer: (request: HttpRequest, count: number) => Answer | Promise<Answer> = () => OK,
): Offline {
  const time = new VirtualTime(Date.parse('2026-01-02T03:04:05.678Z'))
  const requests: HttpRequest[] = []
  let made = 0
  const { now, random, timer } = time
  const analytics = new Analytics(
    { writeKey: 'wk', host: 'http://collector.example', ...settings },
    {
      now,
      random,
      timer,
      ids: () => `m${++made}`,
      transport: async (request) => answer(request, requests.push(request)),
    },
  )
  const messages = () => requests.flatMap(({ body }) => JSON.parse(body).batch as Message[])
  return { analytics, time, requests, messages }
}
