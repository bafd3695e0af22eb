// The interface of plug-ins: what `load(key, { plugins: [...] })`, `use` and `register` take.
import type { Analytics, Message } from './types.js'

/**
 * One addition to the SDK. Keep it small: everything here is optional but the name.
 *
 * Order: `setup` of all plug-ins given to `load` runs before the first event is made, so that a plug-in may replace `sdk.storage`
 * (cookieless) or `sdk.hold` sending (consent) before anything is written. Then every event passes `enrich` of each plug-in in the
 * order of registration, as a private copy of JSON values: change it, replace it, or answer null to drop it. A promise delays this event and, so
 * that order is kept, those after it. A plug-in that throws is reported by `on('error')`; the event goes on without it.
 */
export interface Plugin {
  readonly name: string
  /** Called once with the SDK. Errors are reported, never thrown. */
  setup?(sdk: Analytics): void
  /** Called for each event before it is serialised; null drops it (reported as dropped, reason `NAME`). */
  enrich?(message: Message): Message | null | Promise<Message | null>
}
