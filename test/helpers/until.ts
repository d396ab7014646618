import { setTimeout as sleep } from 'node:timers/promises'

/** A limit against waiting for ever, no measure of speed. ms */
const PATIENCE = 150_000

/** Waits until something is so. @param what for the error where it never is */
export async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + PATIENCE
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`waited ${PATIENCE / 1000} s in vain until ${what}`)
    await sleep(20)
  }
}
