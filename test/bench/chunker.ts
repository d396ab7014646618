import { CHUNKING, createCutter } from '../../src/store/chunker.ts'
import type { Section } from './bench.ts'
import { median } from './measure.ts'
import { valueRow } from './row.ts'
import { createNoise } from './worlds.ts'

const PIECE = 1 << 20

/** How fast large files are cut, in this process and from memory: what reading and hashing cost is measured by `large`. */
export const section: Section = {
  name: 'chunker',
  async *measure(bench) {
    const bytes = createNoise('chunker')(bench.scaled(512) << 20)
    const rates: number[] = []
    for (let round = 0; round <= bench.runs; round++) {
      const started = performance.now()
      const cutter = createCutter()
      for (let at = 0; at < bytes.length; at += PIECE) cutter.push(bytes.subarray(at, at + PIECE))
      cutter.end()
      rates.push(bytes.length / 2 ** 30 / ((performance.now() - started) / 1000))
    }
    // The first round compiles.
    yield valueRow(`${CHUNKING.algorithm}, one core`, median(rates.slice(1)), 'GiB/s', { atLeast: 1 })
  },
}
