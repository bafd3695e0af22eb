// Thin adapters of pages.ts: Express and everything like it, Fastify, and everything that maps a Request to a Response.
import type { Analytics } from './analytics.js'
import { complain } from './emitter.js'
import { text } from './encode.js'
import { type PageOptions, type PageRequest, type PageView, pageView, showedPage } from './pages.js'

export {
  doNotTrack,
  globalPrivacyControl,
  type PageOptions,
  type PageRequest,
  type PageView,
  pageView,
} from './pages.js'

/** The parts of a Node response that are used. */
interface NodeResponse {
  readonly statusCode: number
  getHeader(name: string): unknown
  setHeader(name: string, value: string[]): unknown
  once(event: 'finish', listener: () => void): unknown
}

interface NodeRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  /** Express keeps the whole path here; `url` loses what a router was mounted on. */
  readonly originalUrl?: string | undefined
  readonly headers: { readonly [name: string]: string | string[] | undefined }
  readonly ip?: string | undefined
  readonly protocol?: string | undefined
  readonly socket?: { readonly remoteAddress?: string | undefined } | undefined
}

/** `app.use(express(analytics))`; Connect, Polka, Nest and a plain `http` server take it as well. */
export function express<R extends NodeRequest>(analytics: Analytics, options: PageOptions<R> = {}) {
  return (request: R, response: NodeResponse, next: () => void): void => {
    const view = seen(() => pageView(plain(request), options, request))
    if (view === undefined) {
      next()
      return
    }
    response.once('finish', () =>
      report(analytics, view, response.statusCode, response.getHeader('content-type')),
    )
    if (view.cookie) addCookie(response, view.cookie)
    analytics.withContext(view.scope, next)
  }
}

interface FastifyReply {
  readonly raw: NodeResponse
  readonly statusCode: number
  getHeader(name: string): unknown
  header(name: string, value: string): unknown
}

interface FastifyInstance {
  // biome-ignore lint/suspicious/noExplicitAny: Fastify's own types differ per hook; the shapes used are checked here
  addHook(name: 'onRequest', hook: (request: any, reply: any, done: () => void) => void): unknown
}

/** `app.register(fastify(analytics))`. */
export function fastify(analytics: Analytics, options: PageOptions<NodeRequest> = {}) {
  const plugin = (instance: FastifyInstance, _: unknown, done: () => void): void => {
    instance.addHook('onRequest', (request: NodeRequest, reply: FastifyReply, next) => {
      const view = seen(() => pageView(plain(request), options, request))
      if (view === undefined) return next()
      reply.raw.once('finish', () =>
        report(analytics, view, reply.statusCode, reply.getHeader('content-type')),
      )
      if (view.cookie) reply.header('set-cookie', view.cookie)
      analytics.withContext(view.scope, next)
    })
    done()
  }
  // What Fastify calls fastify-plugin: the hook is for the whole application, not for a scope of its own.
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true })
}

type Handler<R extends Request, Rest extends unknown[]> = (
  request: R,
  ...rest: Rest
) => Response | Promise<Response>

/**
 * Around a handler from Request to Response: Next.js middleware and routes, Hono, Deno, Bun, Cloudflare, Vercel Edge.
 * Where the platform has `waitUntil`, delivery is awaited with it.
 */
export function pages<R extends Request, Rest extends unknown[]>(
  analytics: Analytics,
  handler: Handler<R, Rest>,
  options: PageOptions<R> = {},
) {
  return async (request: R, ...rest: Rest): Promise<Response> => {
    const view = seen(() => pageView(request, options, request))
    if (view === undefined) return handler(request, ...rest)
    const response = await analytics.withContext(view.scope, () => handler(request, ...rest))
    const { status, headers } = response
    // Next.js middleware answers before there is a page.
    const type = headers.has('x-middleware-next') ? 'text/html' : headers.get('content-type')
    report(analytics, view, status, type)
    const platform = rest.find((item) => typeof (item as Platform | null)?.waitUntil === 'function')
    ;(platform as Platform | undefined)?.waitUntil(analytics.flush())
    return view.cookie ? withCookie(response, view.cookie) : response
  }
}

interface Platform {
  waitUntil(promise: Promise<unknown>): void
}

function plain({
  method = 'GET',
  originalUrl,
  url = '/',
  headers,
  ip,
  socket,
  protocol,
}: NodeRequest): PageRequest {
  const path = originalUrl ?? url
  // Express and Fastify know the scheme, by their own trust in proxies.
  const absolute =
    protocol && headers.host && path.startsWith('/') ? `${protocol}://${headers.host}${path}` : path
  return { method, url: absolute, headers, ip: ip ?? socket?.remoteAddress }
}

/** An option of the app's own that throws costs the page view, never the response. */
function seen(view: () => PageView): PageView | undefined {
  try {
    return view()
  } catch (error) {
    complain(`a page view was not counted, one of its options failed: ${text(error)}`)
    return undefined
  }
}

function report(analytics: Analytics, { page, scope }: PageView, status: number, contentType: unknown): void {
  if (page && showedPage(status, contentType == null ? undefined : String(contentType)))
    analytics.with(scope).page(page)
}

function addCookie(response: NodeResponse, cookie: string): void {
  const before = response.getHeader('set-cookie')
  const others = before === undefined ? [] : Array.isArray(before) ? before.map(String) : [String(before)]
  response.setHeader('set-cookie', [...others, cookie])
}

function withCookie(response: Response, cookie: string): Response {
  try {
    response.headers.append('set-cookie', cookie)
    return response
  } catch {
    // Headers of a response that was fetched, or made by Response.redirect, cannot be changed.
    const copy = new Response(response.body, response)
    copy.headers.append('set-cookie', cookie)
    return copy
  }
}
