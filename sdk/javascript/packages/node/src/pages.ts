// Page views seen by a server, whatever its framework: plain request in, page call and cookie out. Pure but for the id.
import type { Scope, Values } from './types.js'
import { randomBytes } from './uuid7.js'

type HeaderValues = { readonly [name: string]: string | readonly string[] | undefined }

export interface PageRequest {
  readonly method: string
  /** Absolute, or a path where `headers` have the host. */
  readonly url: string
  readonly headers: HeaderValues | { get(name: string): string | null }
  /** The address of who asks; without it, see `trustProxy`. */
  readonly ip?: string | undefined
}

export interface PageOptions<Request = PageRequest> {
  /** Paths that are no page views: prefixes or patterns. */
  readonly exclude?: readonly (string | RegExp)[]
  /** True for a visitor who is not to be tracked: no cookie, no page view. See `globalPrivacyControl`. */
  readonly optOut?: (request: Request) => boolean
  /** The consent of a visitor by category; goes with all calls as `context.consent`. */
  readonly consent?: (request: Request) => Readonly<Record<string, boolean>> | undefined
  /** The signed-in user; else the cookie `ajs_user_id`. */
  readonly userId?: (request: Request) => string | undefined
  readonly account?: (request: Request) => string | undefined
  /** How many proxies of your own add to `X-Forwarded-For` and set `X-Forwarded-Proto` and `-Host`. Default 0: none is believed. */
  readonly trustProxy?: number
  /** Domain of the cookie, such as `example.com` for all its hosts. Default: this host only. */
  readonly cookieDomain?: string
}

export interface PageView {
  /** What calls made for this request carry. */
  readonly scope: Scope
  /** Arguments of `page`; absent where the request is no page view. */
  readonly page: { readonly properties: Values } | undefined
  /** A `Set-Cookie` header for a visitor who has no id yet. */
  readonly cookie: string | undefined
}

const YEAR = 31_536_000

/** What a request says about its visitor and page. Never throws on what a request holds. */
export function pageView<R = PageRequest>(
  request: PageRequest,
  options: PageOptions<R> = {},
  /** What the options' functions are given, where it is not the same. */
  original: R = request as R,
): PageView {
  if (options.optOut?.(original)) return { scope: {}, page: undefined, cookie: undefined }
  const header = headerReader(request.headers)
  const cookies = cookiesOf(header('cookie'))
  const trustProxy = options.trustProxy ?? 0
  const url = urlOf(request, header, trustProxy)
  const isPage =
    url !== undefined && looksLikePage(request, header) && !excluded(url.pathname, options.exclude ?? [])
  const known = cookies.get('ajs_anonymous_id')
  const anonymousId = known ?? (isPage ? newId() : undefined)
  const scope: Scope = {
    userId: options.userId?.(original) ?? cookies.get('ajs_user_id'),
    anonymousId,
    account: options.account?.(original),
    ip: ipOf(request, header, trustProxy),
    userAgent: header('user-agent') ?? undefined,
    locale: localeOf(header('accept-language')),
    context: contextOf(url, header, options.consent?.(original)),
  }
  if (!isPage) return { scope, page: undefined, cookie: undefined }
  return {
    scope,
    page: { properties: { ...propertiesOf(url, header), host: url.host } },
    cookie: known === undefined ? cookieOf(anonymousId!, url, options.cookieDomain) : undefined,
  }
}

function contextOf(url: URL | undefined, header: Header, consent: Values | undefined): Values {
  return {
    ...(url && { page: propertiesOf(url, header), ...campaignOf(url) }),
    ...(consent && { consent: { categoryPreferences: consent } }),
  }
}

/** For `optOut`: the visitor's browser sends Global Privacy Control. */
export function globalPrivacyControl(request: { readonly headers: PageRequest['headers'] }): boolean {
  return headerReader(request.headers)('sec-gpc') === '1'
}

/** For `optOut`: the visitor's browser sends Do Not Track. */
export function doNotTrack(request: { readonly headers: PageRequest['headers'] }): boolean {
  return headerReader(request.headers)('dnt') === '1'
}

/**
 * Whether an answer of this status and Content-Type showed a page; 304 shows the one the browser has. Node cannot read
 * back a type that was given to writeHead alone: somebody navigated here and got something, which counts.
 */
export function showedPage(status: number, contentType: string | undefined): boolean {
  if (status === 304) return true
  if (status < 200 || status >= 300 || status === 204) return false
  return contentType === undefined || /^(text\/html|application\/xhtml\+xml)\b/i.test(contentType)
}

type Header = (name: string) => string | null

function headerReader(headers: PageRequest['headers']): Header {
  if (typeof headers.get === 'function')
    return (name) => (headers as { get(name: string): string | null }).get(name)
  return (name) => {
    const value = (headers as HeaderValues)[name]
    return value === undefined ? null : typeof value === 'string' ? value : value.join(', ')
  }
}

/** A document that somebody navigates to; not a script's fetch, an asset or a page loaded in case it is wanted. */
function looksLikePage({ method }: PageRequest, header: Header): boolean {
  if (method !== 'GET') return false
  const ahead = `${header('sec-purpose') ?? ''} ${header('purpose') ?? ''} ${header('x-moz') ?? ''}`
  if (/prefetch|prerender|preview/i.test(ahead) || header('next-router-prefetch') !== null) return false
  const wanted = header('sec-fetch-dest')
  if (wanted !== null) return wanted === 'document'
  return /text\/html|application\/xhtml\+xml/i.test(header('accept') ?? '')
}

function excluded(path: string, rules: readonly (string | RegExp)[]): boolean {
  return rules.some((rule) => (typeof rule === 'string' ? path.startsWith(rule) : rule.test(path)))
}

function urlOf(request: PageRequest, header: Header, trustProxy: number): URL | undefined {
  const trusted = trustProxy > 0
  const host = (trusted && last(header('x-forwarded-host'))) || header('host') || 'localhost'
  try {
    // A path of its own may begin with two slashes, which a URL parser takes for a host.
    const url = /^https?:/i.test(request.url) ? new URL(request.url) : new URL(`http://${host}${request.url}`)
    if (trusted) {
      const scheme = last(header('x-forwarded-proto'))
      if (scheme === 'https' || scheme === 'http') url.protocol = `${scheme}:`
      url.host = host
    }
    url.username = url.password = ''
    return url
  } catch {
    return undefined // a Host header that is no host: there is no page to speak of
  }
}

function propertiesOf(url: URL, header: Header): Values {
  return {
    url: url.href,
    path: url.pathname,
    search: url.search,
    referrer: header('referer') ?? '',
  }
}

/** `utm_campaign` is the campaign's name; every other `utm_x` is its `x`. */
function campaignOf(url: URL): { campaign: Values } | undefined {
  const campaign = [...url.searchParams]
    .filter(([name, value]) => /^utm_\w+$/.test(name) && value !== '')
    .map(([name, value]) => [name === 'utm_campaign' ? 'name' : name.slice(4), value])
  return campaign.length > 0 ? { campaign: Object.fromEntries(campaign) } : undefined
}

function localeOf(accepted: string | null): string | undefined {
  return /^\s*([a-z]{2,3}(?:-[a-z0-9]{2,8})*)/i.exec(accepted ?? '')?.[1]
}

/** Each trusted proxy appended the address it saw, so the visitor's is that many from the end. */
function ipOf(request: PageRequest, header: Header, trustProxy: number): string | undefined {
  const hops = (header('x-forwarded-for') ?? '').split(',').map((hop) => hop.trim())
  const named = trustProxy > 0 ? hops[Math.max(0, hops.length - trustProxy)] : undefined
  return named || request.ip
}

function last(list: string | null): string | undefined {
  return list?.split(',').at(-1)?.trim()
}

/** Cookies as analytics.js wrote them: percent-encoded, older ones as JSON strings. */
function cookiesOf(header: string | null): Map<string, string> {
  const cookies = new Map<string, string>()
  for (const pair of (header ?? '').split(';')) {
    const at = pair.indexOf('=')
    const name = pair.slice(0, at).trim()
    const value = at > 0 ? unquoted(pair.slice(at + 1).trim()) : ''
    if (value !== '' && !cookies.has(name)) cookies.set(name, value)
  }
  return cookies
}

function unquoted(raw: string): string {
  try {
    const value = decodeURIComponent(raw)
    const parsed: unknown = value.startsWith('"') ? JSON.parse(value) : value
    return typeof parsed === 'string' && parsed.length <= 500 ? parsed : ''
  } catch {
    return '' // another application's value, or a broken one: as if it were not there
  }
}

function cookieOf(id: string, url: URL, domain: string | undefined): string {
  // Readable by the browser SDK, so not HttpOnly.
  const where = domain === undefined ? '' : `; Domain=${domain}`
  const secure = url.protocol === 'https:' ? '; Secure' : ''
  return `ajs_anonymous_id=${encodeURIComponent(id)}; Path=/; Max-Age=${YEAR}; SameSite=Lax${where}${secure}`
}

/** Random rather than in the order of time: a visitor's id should not say when they first came. */
function newId(): string {
  const bytes = new Uint8Array(16)
  randomBytes(bytes)
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = Array.from(bytes, (byte) => (byte + 256).toString(16).slice(1)).join('')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
