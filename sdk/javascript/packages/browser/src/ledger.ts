// What became of events since the last report.
import type { FlushReport, Outcome } from './types.js'

/** Entries in each list of a report; the counts go on. */
const DETAILS = 1000

const empty = (): FlushReport => ({
  delivered: 0,
  rejected: [],
  rejectedCount: 0,
  dropped: [],
  droppedCount: 0,
  queued: 0,
})

export interface Ledger {
  note(outcome: Outcome): void
  /** The report; the next one starts anew. */
  report(queued: number): FlushReport
}

/** `hear` is told of every outcome as it is noted. */
export function ledger(hear: (outcome: Outcome) => void): Ledger {
  let current = empty()
  return {
    note(outcome) {
      const { status, messageId, type, code = '', message = '' } = outcome
      if (status === 'delivered') current.delivered++
      if (status === 'rejected' && current.rejectedCount++ < DETAILS)
        current.rejected.push({ messageId, type, code, message })
      if (status === 'dropped' && current.droppedCount++ < DETAILS)
        current.dropped.push({ messageId, type, reason: code })
      hear(outcome)
    },
    report(queued) {
      const done = { ...current, queued }
      current = empty()
      return done
    },
  }
}
