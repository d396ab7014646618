/** Where long work tells how far it is. Bytes where bytes are known, else items. */
export interface Progress {
  /** Opens a named task; `total` in bytes. */
  start(task: string, total?: number): ProgressTask
}

export interface ProgressTask {
  advance(bytes: number): void
  grow(bytes: number): void
  finish(): void
}

export const silentProgress: Progress = {
  start: () => ({ advance() {}, grow() {}, finish() {} }),
}
