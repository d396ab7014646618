import type { StatRow } from './stat-table.ts'

/** Rows that remember what each one that was replaced or deleted was before: a copy of all would take as much memory again. */
export class TrackedRows extends Map<string, StatRow> {
  before: Map<string, StatRow | undefined> | undefined

  /** From here on changes are remembered. */
  track(): this {
    this.before = new Map()
    return this
  }

  override set(path: string, row: StatRow): this {
    if (this.before && !this.before.has(path)) this.before.set(path, this.get(path))
    return super.set(path, row)
  }

  override delete(path: string): boolean {
    if (this.before && !this.before.has(path)) this.before.set(path, this.get(path))
    return super.delete(path)
  }
}
