// Ids and traits where analytics.js keeps them: cookies (one year, top-level domain) and localStorage, memory where both fail.
import type { CookieOptions, Storage } from './types.js'

/** Characters that analytics.js leaves as they are in a cookie. */
const PLAIN = /%(2[346BF]|3[AC-F]|40|5[BDE]|60|7[BCD])/g

/** The answer of `use(localStorage)`; null where storage is blocked or full, which is a state of the page and no error. */
export function local<T>(win: Window, use: (storage: globalThis.Storage) => T): T | null {
  try {
    return use(win.localStorage)
  } catch {
    return null
  }
}

/** The widest domain that takes a cookie: `example.co.uk` for `www.shop.example.co.uk`; empty for addresses and `localhost`. */
function topDomain(document: Document, host: string): string {
  const labels = /^[\d.]+$/.test(host) ? [] : host.split('.')
  for (let n = labels.length - 2; n >= 0; n--) {
    const domain = labels.slice(n).join('.')
    const probe = `__tld__=1;domain=.${domain};max-age=`
    document.cookie = `${probe}9`
    if (/__tld__=1/.test(document.cookie)) {
      document.cookie = `${probe}0`
      return domain
    }
  }
  return ''
}

function cookies(win: Window, options: CookieOptions) {
  let domain = options.domain
  return {
    get(key: string): string | null {
      try {
        const found = win.document.cookie.match(`(?:^|; )${key}=([^;]*)`)
        return found && decodeURIComponent(found[1]!)
      } catch {
        return null // a sandboxed frame has no cookies, and a cookie that is not ours may not decode
      }
    },
    set(key: string, value: string | null): void {
      try {
        domain ??= topDomain(win.document, win.location.hostname)
        win.document.cookie = `${key}=${encodeURIComponent(value ?? '').replace(PLAIN, decodeURIComponent)};path=${options.path ?? '/'};max-age=${
          value == null ? 0 : (options.maxage ?? 365) * 86400
        };samesite=${options.sameSite ?? 'Lax'}${domain && `;domain=${domain}`}${options.secure ? ';secure' : ''}`
      } catch {
        // a sandboxed frame: localStorage or memory keeps the value
      }
    },
  }
}

/** Ids are strings however an older analytics.js wrote them (`"1"`, `1`); traits are objects. */
function parse(key: string, text: string | null): unknown {
  if (!text || text === 'null') return null
  try {
    return /_id$/.test(key) && text[0] !== '"' ? text : JSON.parse(text)
  } catch {
    return null
  }
}

/** Keys that end in `_id` are written to a cookie and localStorage, the others to localStorage only. */
export function browserStorage(win: Window, options: CookieOptions = {}): Storage {
  const jar = cookies(win, options)
  const memory: Record<string, unknown> = {}
  const stored = (key: string): unknown =>
    (/_id$/.test(key) && parse(key, jar.get(key))) ||
    parse(
      key,
      local(win, (storage) => storage.getItem(key)),
    )
  return {
    get: (key) => stored(key) ?? memory[key] ?? null,
    set(key, value) {
      if (/_id$/.test(key)) jar.set(key, value as string | null)
      local(win, (storage) =>
        value == null ? storage.removeItem(key) : storage.setItem(key, JSON.stringify(value)),
      )
      // Memory only while nothing else keeps it: another tab's reset() must be seen here.
      memory[key] = stored(key) == null ? value : null
    },
  }
}
