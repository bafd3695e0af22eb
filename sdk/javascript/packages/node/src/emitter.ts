// Listeners, as Segment's SDK has them; one that throws harms neither the others nor the app.
import { text } from './encode.js'
import type { AnalyticsSettings } from './settings.js'
import type { HttpRequest } from './transport.js'
import type { AnalyticsError, EventContext, Kind, Message, Warning } from './types.js'

export type Events = { [kind in Kind]: [EventContext] } & {
  initialize: [AnalyticsSettings]
  call_after_close: [Message]
  error: [AnalyticsError]
  warning: [Warning]
  http_request: [HttpRequest]
  http_response: [HttpRequest & { status: number; statusText: string }]
  drained: []
  register: [string[]]
  deregister: [string[]]
}

type Listener<Name extends keyof Events> = (...args: Events[Name]) => void

export class Emitter {
  private readonly listeners = new Map<keyof Events, Listener<never>[]>()

  on<Name extends keyof Events>(name: Name, listener: Listener<Name>): this {
    this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener as Listener<never>])
    return this
  }

  once<Name extends keyof Events>(name: Name, listener: Listener<Name>): this {
    const once: Listener<Name> = (...args) => {
      this.off(name, once)
      listener(...args)
    }
    return this.on(name, once)
  }

  off<Name extends keyof Events>(name: Name, listener: Listener<Name>): this {
    const left = (this.listeners.get(name) ?? []).filter((other) => other !== listener)
    if (left.length > 0) this.listeners.set(name, left)
    else this.listeners.delete(name)
    return this
  }

  has(name: keyof Events): boolean {
    return this.listeners.has(name)
  }

  emit<Name extends keyof Events>(name: Name, ...args: Events[Name]): this {
    for (const listener of (this.listeners.get(name) ?? []) as Listener<Name>[]) {
      guarded(`a listener of '${name}'`, () => listener(...args))
    }
    return this
  }
}

/** Calls the app's own code. What that throws is said on the console and goes no further. */
export function guarded(what: string, call: () => unknown): void {
  try {
    const result = call()
    if (result instanceof Promise)
      result.catch((error: unknown) => complain(`${what} failed: ${text(error)}`))
  } catch (error) {
    complain(`${what} failed: ${text(error)}`)
  }
}

export function complain(what: string): void {
  // biome-ignore lint/suspicious/noConsole: the last resort, for what nobody listens to
  console.warn(`[headwater] ${what}`)
}
