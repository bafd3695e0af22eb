// A small page with virtual time: what the core touches of a window, and nothing else.
import type { Platform } from '../src/platform.js'

export interface Request {
  url: string
  method: string
  headers: Record<string, string>
  body: string
  keepalive: boolean
  /** Virtual milliseconds. */
  at: number
}

/** An answer of the server: an HTTP response, a broken connection, or silence. */
export type Answer = { status: number; headers?: Record<string, string>; text?: string } | 'reset' | 'silent'

export interface Surroundings {
  url?: string
  title?: string
  referrer?: string
  userAgent?: string
  locale?: string
  timezone?: string
  cookie?: string
  storage?: FakeStorage | null
  cookies?: boolean
  locks?: FakeLocks
  clock?: number
  random?: number
  prerendering?: boolean
}

/** localStorage: entries are its own properties, as in a browser; `room` bounds their number. */
export class FakeStorage {
  [key: string]: unknown
  constructor(room = Infinity) {
    Object.defineProperty(this, 'room', { value: room, writable: true })
  }
  getItem(key: string): string | null {
    return Object.hasOwn(this, key) ? (this[key] as string) : null
  }
  setItem(key: string, value: string): void {
    if (!Object.hasOwn(this, key) && Object.keys(this).length >= (this.room as number)) {
      throw new DOMException('full', 'QuotaExceededError')
    }
    this[key] = `${value}`
  }
  removeItem(key: string): void {
    delete this[key]
  }
}

/** Web Locks with `ifAvailable`, shared by the pages of a test. */
export class FakeLocks {
  readonly held = new Set<string>()
  async request(name: string, _options: unknown, use: (lock: object | null) => unknown): Promise<void> {
    if (this.held.has(name)) {
      await use(null)
      return
    }
    this.held.add(name)
    await use({})
    this.held.delete(name)
  }
}

interface Timer {
  id: number
  at: number
  run: () => void
  every?: number
}

/** The page; `platform()` is what the SDK gets. */
export class FakePage {
  readonly requests: Request[] = []
  readonly printed: unknown[][] = []
  answer: (request: Request, n: number) => Answer = () => ({ status: 200, text: '{"success":true}' })
  time: number
  cookie: string
  visibility: 'visible' | 'hidden' = 'visible'
  prerendering: boolean
  readonly storage: FakeStorage | null
  private readonly listeners = new Map<string, Array<(event: unknown) => void>>()
  private readonly given: Surroundings
  private timers: Timer[] = []
  private ids = 0
  private messages = 0
  private static uuids = 0

  constructor(given: Surroundings = {}) {
    this.given = given
    this.time = given.clock ?? Date.parse('2026-01-02T03:04:05.678Z')
    this.storage = given.storage === undefined ? new FakeStorage() : given.storage
    this.cookie = given.cookie ?? ''
    this.prerendering = given.prerendering ?? false
  }

  platform(): Platform {
    return {
      window: this.window(),
      now: () => this.time,
      random: () => this.given.random ?? 0.5,
      id: () => `m${++this.messages}`,
      uuid: () => `00000000-0000-7000-8000-${`${++FakePage.uuids}`.padStart(12, '0')}`,
    }
  }

  /** Runs what is due until `ms` later, in order. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms
    await this.rest()
    let more = true
    while (more) more = await this.next(end)
    this.time = end
  }

  /** How many timers wait. */
  timerCount(): number {
    return this.timers.length
  }

  /** Runs timers until `done`. */
  async until(done: () => boolean): Promise<void> {
    for (let n = 0; n < 10_000; n++) {
      await this.rest()
      if (done()) return
      if (!(await this.next(Infinity))) break
    }
    throw new Error('the condition was not met, and there is nothing left to run')
  }

  /** Raises an event of window or document. */
  raise(type: string, event: object = {}): void {
    for (const listener of this.listeners.get(type) ?? []) listener({ type, ...event })
  }

  /** The messages of all requests. */
  sent(): Array<Record<string, unknown>> {
    return this.requests.flatMap((request) => JSON.parse(request.body).batch)
  }

  /** Promises that can go on do so. */
  rest(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve))
  }

  private async next(end: number): Promise<boolean> {
    this.timers.sort((a, b) => a.at - b.at || a.id - b.id)
    const timer = this.timers[0]
    if (!timer || timer.at > end) return false
    this.timers.shift()
    this.time = Math.max(this.time, timer.at)
    if (timer.every) this.timers.push({ ...timer, at: this.time + timer.every })
    timer.run()
    await this.rest()
    return true
  }

  private timer(run: () => void, given = 0, every?: number): number {
    const delay = given < 2 ** 31 ? Math.max(0, given) : 0 // as a browser's timer does
    this.timers.push({ id: ++this.ids, at: this.time + delay, run, every })
    return this.ids
  }

  private readonly listen = (type: string, listener: (event: unknown) => void) => {
    this.listeners.set(type, [...(this.listeners.get(type) ?? []), listener])
  }

  private readonly fetch = (url: string, init: RequestInit): Promise<unknown> => {
    const { method, headers, body, keepalive, signal } = init
    const request: Request = {
      url,
      method: method!,
      // As fetch does for a text.
      headers: (headers ?? { 'Content-Type': 'text/plain;charset=UTF-8' }) as Record<string, string>,
      body: body as string,
      keepalive: !!keepalive,
      at: this.time,
    }
    this.requests.push(request)
    const answer = this.answer(request, this.requests.length)
    if (answer === 'reset') return Promise.reject(new TypeError('Failed to fetch'))
    if (answer === 'silent') {
      return new Promise((_resolve, reject) =>
        signal!.addEventListener('abort', () => reject(signal!.reason)),
      )
    }
    const { status, headers: sent = {}, text = '' } = answer
    return Promise.resolve({ status, headers: new Headers(sent), text: async () => text })
  }

  private document(): unknown {
    const page = this
    return {
      title: this.given.title ?? 'Shop',
      referrer: this.given.referrer ?? '',
      querySelector: () => null,
      addEventListener: this.listen,
      get prerendering() {
        return page.prerendering
      },
      get visibilityState() {
        return page.visibility
      },
      get cookie() {
        if (page.given.cookies === false) throw new DOMException('sandboxed', 'SecurityError')
        return page.cookie
      },
      set cookie(line: string) {
        page.setCookie(line)
      },
    }
  }

  private window(): Platform['window'] {
    const page = this
    const { given } = this
    const window = {
      document: this.document(),
      location: new URL(given.url ?? 'https://shop.example/'),
      navigator: {
        userAgent: given.userAgent ?? 'test',
        language: given.locale ?? 'en-US',
        locks: given.locks,
      },
      Intl: { DateTimeFormat: () => ({ resolvedOptions: () => ({ timeZone: given.timezone ?? 'UTC' }) }) },
      console: { log: (...what: unknown[]) => this.printed.push(what) },
      fetch: this.fetch,
      Request: globalThis.Request,
      setTimeout: (run: () => void, delay?: number) => this.timer(run, delay),
      setInterval: (run: () => void, delay: number) => this.timer(run, delay, delay),
      clearTimeout: (id: number) => {
        this.timers = this.timers.filter((timer) => timer.id !== id)
      },
      requestIdleCallback: (run: () => void) => this.timer(run),
      addEventListener: this.listen,
      get localStorage() {
        if (!page.storage) throw new DOMException('blocked', 'SecurityError')
        return page.storage
      },
    }
    return window as unknown as Platform['window']
  }

  /** Keeps name=value of a cookie line; `max-age=0` removes. */
  private setCookie(line: string): void {
    if (this.given.cookies === false) throw new DOMException('sandboxed', 'SecurityError')
    const [pair, ...attributes] = line.split(';')
    const name = pair!.split('=')[0]!
    const others = this.cookie.split('; ').filter((known) => known && !known.startsWith(`${name}=`))
    const gone = attributes.some((attribute) => attribute.trim() === 'max-age=0')
    this.cookie = [...others, ...(gone ? [] : [pair!])].join('; ')
  }
}
