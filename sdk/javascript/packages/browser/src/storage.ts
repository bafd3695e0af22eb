// Ids and traits where analytics.js keeps them: cookies (one year, top-level domain) and localStorage, memory where both fail.
import type { CookieOptions, Storage } from './types.js'

/** Seconds. */
const YEAR = 31_536_000

/** The result of `use`, or null where the page has no cookies or storage, or its storage is full: a state of the page and no error. */
export function attempt<T>(use: () => T): T | null {
  try {
    return use()
  } catch {
    return null
  }
}

/** The widest domain that takes a cookie: `example.co.uk` for `www.shop.example.co.uk`; empty where none does, as for `localhost`. */
function topDomain(document: Document, host: string): string {
  const labels = host.split('.')
  let domain = labels.pop()
  while (labels[0]) {
    domain = `${labels.pop()}.${domain}`
    const probe = `__tld__=1;domain=${domain};max-age=`
    document.cookie = `${probe}9`
    if (/__tld__/.test(document.cookie)) {
      document.cookie = `${probe}0`
      return domain
    }
  }
  return ''
}

/** Keys that end in `_id` are written to a cookie and localStorage, the others to localStorage only. */
export function browserStorage(win: Window, options: CookieOptions = {}): Storage {
  const { document } = win
  const memory: Record<string, unknown> = {}
  let { domain } = options

  const isId = (key: string) => /_id$/.test(key)
  const cookie = (key: string) => {
    const found = `; ${document.cookie}`.split(`; ${key}=`)[1]
    return found ? decodeURIComponent(found.split(';')[0]!) : ''
  }
  /** Ids are strings however an older analytics.js wrote them (`"1"`, `1`); traits are objects. */
  const read = (key: string, from: (key: string) => string | null) =>
    attempt(() => {
      const value = from(key)
      return value && (isId(key) && value[0] !== '"' ? value : JSON.parse(value))
    })
  const stored = (key: string) =>
    (isId(key) && read(key, cookie)) || read(key, (name) => win.localStorage.getItem(name))

  return {
    get: (key) => stored(key) || memory[key] || null,
    set(key, value) {
      if (isId(key)) {
        attempt(() => {
          if (domain == null) domain = topDomain(document, win.location.hostname)
          document.cookie =
            `${key}=${encodeURIComponent(value as string)};path=/;samesite=Lax;max-age=${value ? YEAR : 0}` +
            (domain && `;domain=${domain}`) +
            (options.secure ? ';secure' : '')
        })
      }
      attempt(() => {
        // Where there is no room for the new value the old one must not stay: it may be another user's.
        win.localStorage.removeItem(key)
        if (value) win.localStorage.setItem(key, JSON.stringify(value))
      })
      // Memory only while nothing else keeps it: another tab's reset() must be seen here.
      memory[key] = stored(key) ? null : value
    },
  }
}
