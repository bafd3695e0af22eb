// What became of the events since the last report.
import type { Drop, FlushReport, Rejection, Warning } from './types.js'

const DETAILS = 1000

export class Ledger {
  private delivered = 0
  private rejected: Rejection[] = []
  private rejectedCount = 0
  private dropped: Drop[] = []
  private droppedCount = 0
  private warnings: Warning[] = []

  deliver(): void {
    this.delivered++
  }

  reject(rejection: Rejection): void {
    this.rejectedCount++
    if (this.rejected.length < DETAILS) this.rejected.push(rejection)
  }

  drop(drop: Drop): void {
    this.droppedCount++
    if (this.dropped.length < DETAILS) this.dropped.push(drop)
  }

  warn(warning: Warning): void {
    if (this.warnings.length < DETAILS) this.warnings.push(warning)
  }

  report(queued: number, trouble?: string): FlushReport {
    const { delivered, rejected, rejectedCount, dropped, droppedCount, warnings } = this
    this.delivered = this.rejectedCount = this.droppedCount = 0
    this.rejected = []
    this.dropped = []
    this.warnings = []
    return { delivered, rejected, dropped, warnings, rejectedCount, droppedCount, queued, trouble }
  }
}
