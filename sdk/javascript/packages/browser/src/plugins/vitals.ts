// Core web vitals as one `track` call for each page, sent when it is first hidden: later there may be no chance.
import type { Plugin } from '../plugin.js'
import type { Analytics, Json } from '../types.js'

export interface VitalsOptions {
  /** Name of the event. Default: `Web Vitals Measured`. */
  event?: string
  /** Share of page loads that are measured, 0 to 1. Default: 1. */
  sample?: number
}

type Shift = PerformanceEntry & { value: number; hadRecentInput: boolean }
type Interaction = PerformanceEventTiming & { interactionId?: number }
type Navigation = PerformanceNavigationTiming & { activationStart?: number }

const LONGEST = 10 // interactions kept: enough for the 98th percentile of 500

/** Milliseconds, and the layout shift as a plain number; what the browser does not measure is left out. */
export function vitals(options: VitalsOptions = {}): Plugin {
  return {
    name: 'vitals',
    setup(sdk) {
      if (typeof PerformanceObserver !== 'undefined' && Math.random() < (options.sample ?? 1))
        measure(sdk, options)
    },
  }
}

function measure(sdk: Analytics, options: VitalsOptions): void {
  const shifts = new Shifts()
  const interactions = new Interactions()
  const found: Json = {}
  const hiddenBefore = document.visibilityState === 'hidden'
  const start = () => navigation()?.activationStart ?? 0
  const since = (time: number) => Math.max(0, Math.round(time - start()))
  const observers = [
    observe('largest-contentful-paint', (entry) => {
      if (!hiddenBefore) found.lcp = since(entry.startTime)
    }),
    observe('paint', (entry) => {
      if (!hiddenBefore && entry.name === 'first-contentful-paint') found.fcp = since(entry.startTime)
    }),
    observe('layout-shift', (entry) => shifts.add(entry as Shift)),
    observe('event', (entry) => interactions.add(entry as Interaction), { durationThreshold: 40 }),
    observe('first-input', (entry) => interactions.add(entry as Interaction)),
  ]
  const send = () => {
    if (document.visibilityState !== 'hidden') return
    removeEventListener('visibilitychange', send, true)
    for (const flush of observers) flush?.()
    const entry = navigation()
    if (entry) Object.assign(found, { ttfb: since(entry.responseStart), navigation_type: entry.type })
    if (observers[2]) found.cls = shifts.worst()
    const inp = interactions.slow(
      (performance as Performance & { interactionCount?: number }).interactionCount,
    )
    if (inp !== undefined) found.inp = inp
    sdk.track(options.event ?? 'Web Vitals Measured', found)
  }
  // On the window and in the capture phase: before the SDK's own listener, which sends what is queued.
  addEventListener('visibilitychange', send, true)
}

/** Observes one type, what came before included; returns what takes the entries not yet seen and ends it, if it is measured. */
function observe(
  type: string,
  each: (entry: PerformanceEntry) => void,
  more: object = {},
): (() => void) | null {
  if (!PerformanceObserver.supportedEntryTypes?.includes(type)) return null
  const observer = new PerformanceObserver((list) => list.getEntries().forEach(each))
  observer.observe({ type, buffered: true, ...more })
  return () => {
    observer.takeRecords().forEach(each)
    observer.disconnect()
  }
}

function navigation(): Navigation | undefined {
  return performance.getEntriesByType('navigation')[0] as Navigation | undefined
}

/** Cumulative layout shift: the worst window of shifts less than 1 s apart and 5 s long. */
export class Shifts {
  #worst = 0
  #sum = 0
  #first = 0
  #last = Number.NEGATIVE_INFINITY

  add({ startTime, value, hadRecentInput }: Pick<Shift, 'startTime' | 'value' | 'hadRecentInput'>): void {
    if (hadRecentInput) return
    if (startTime - this.#last >= 1000 || startTime - this.#first >= 5000) {
      this.#sum = 0
      this.#first = startTime
    }
    this.#last = startTime
    this.#sum += value
    this.#worst = Math.max(this.#worst, this.#sum)
  }

  worst(): number {
    return Math.round(this.#worst * 10_000) / 10_000
  }
}

/** Interaction to next paint: the longest interaction, one in fifty left out. */
export class Interactions {
  #longest = new Map<number, number>()
  #count = 0
  #latest = 0

  add({ interactionId, duration }: Pick<Interaction, 'interactionId' | 'duration'>): void {
    if (!interactionId) return
    if (interactionId > this.#latest) {
      this.#latest = interactionId // they grow; the events of one interaction share theirs
      this.#count += 1
    }
    this.#longest.set(interactionId, Math.max(duration, this.#longest.get(interactionId) ?? 0))
    if (this.#longest.size > LONGEST) this.#longest.delete(this.#sorted().at(-1)![0])
  }

  /** `count`: how many there were, where the browser knows; those too quick to be reported count as well. */
  slow(count = this.#count): number | undefined {
    const longest = this.#sorted()
    const found = longest[Math.min(longest.length - 1, Math.floor(count / 50))]
    return found && Math.round(found[1])
  }

  #sorted(): [number, number][] {
    return [...this.#longest].sort((a, b) => b[1] - a[1])
  }
}
