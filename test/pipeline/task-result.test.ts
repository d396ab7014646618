import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MlvError } from '../../src/base/errors.ts'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { RepoPath } from '../../src/base/paths.ts'
import { createTail, TAIL_BYTES } from '../../src/pipeline/run-notes.ts'
import { formatReport, parseReport, type TaskReport } from '../../src/pipeline/task-result.ts'

const text = fc.string({ unit: 'binary', minLength: 1 })
const moment = fc
  .date({ min: new Date('1970-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
  .map((date) => date.toISOString())
const shared = {
  key: fc.stringMatching(/^[0-9a-f]{64}$/) as fc.Arbitrary<Oid>,
  stage: fc.constantFrom('train', 'train@us-1', 'größe'),
  started: moment,
  ended: moment,
  log: fc.option(text, { nil: undefined }),
}
const entry = fc.record({ kind: fc.constantFrom('file' as const, 'exec' as const), oid: shared.key, size: fc.nat() })
const done = fc.record({
  ...shared,
  status: fc.constantFrom('ran' as const, 'restored' as const),
  seconds: fc.double({ min: 0, max: 1e9, noNaN: true }).map((seconds) => seconds + 0),
  outs: fc
    .uniqueArray(fc.record({ path: fc.stringMatching(/^[a-z]{1,4}$/) as fc.Arbitrary<RepoPath & string>, entry }), {
      selector: ({ path }) => path,
      maxLength: 3,
    })
    .map((outs) => outs.sort((a, b) => (a.path < b.path ? -1 : 1))),
})
const failed = fc.record({
  ...shared,
  status: fc.constant('failed' as const),
  error: fc.oneof(
    fc.record({ code: fc.constant('STAGE_FAILED' as const), message: fc.string() }),
    fc.record({ code: fc.constant('DISK_FULL' as const), message: fc.string(), hint: fc.string() }),
  ),
  exit: fc.option(fc.integer({ min: -1, max: 255 }), { nil: undefined }),
  signal: fc.option(fc.constant('SIGKILL'), { nil: undefined }),
})

const defined = (report: unknown) => JSON.parse(JSON.stringify(report)) as TaskReport

describe('a report', () => {
  it('comes back as it was written, and in any layout', () => {
    fc.assert(
      fc.property(fc.oneof(done, failed), (report) => {
        const wanted = defined(report)
        const written = formatReport(wanted)
        expect(parseReport(Buffer.from(written), 'r')).toEqual(wanted)
        expect(parseReport(Buffer.from(JSON.stringify(JSON.parse(written), null, 2)), 'r')).toEqual(wanted)
      }),
    )
  })

  it('of which anything else is made is refused, in one line', () => {
    const report = JSON.parse(
      formatReport({
        ...{ key: oidOfBytes('x'), stage: 'a', status: 'ran', outs: [], seconds: 1 },
        ...{ started: '2026-01-31T12:00:00.000Z', ended: '2026-01-31T12:00:00.000Z' },
      }),
    ) as Record<string, unknown>
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(report)), fc.oneof(fc.constant(undefined), fc.jsonValue()), (key, value) => {
        try {
          parseReport(Buffer.from(JSON.stringify({ ...report, [key]: value })), 'r')
        } catch (error) {
          expect(error).toBeInstanceOf(MlvError)
          expect((error as MlvError).message).toMatch(/^r is no report of a task: .*$/)
        }
      }),
    )
    for (const change of [
      { more: 1 },
      { stage: 'a\nran  b' },
      { stage: '' },
      { exit: 1 },
      { started: 'today' },
      { ended: '2026-13-31T12:00:00.000Z' },
      { outs: [{}] },
    ])
      expect(() => parseReport(Buffer.from(JSON.stringify({ ...report, ...change })), 'r')).toThrow('is no report')
  })
})

describe('the end of what is printed', () => {
  it('is the same however it comes, and whole lines as far as there are any', () => {
    const lines = Array.from({ length: 3000 }, (_, i) => `line ${i} ünïcode\n`).join('')
    const tailOf = (all: Buffer, piece: number) => {
      const tail = createTail()
      for (let at = 0; at < all.length; at += piece) tail.write(all.subarray(at, at + piece))
      return tail.text()
    }
    const bytes = Buffer.from(lines)
    const want = tailOf(bytes, bytes.length)
    expect(lines.endsWith(`\n${want}`)).toBe(true)
    expect(Buffer.byteLength(want)).toBeGreaterThan(TAIL_BYTES - 30)
    expect(Buffer.byteLength(want)).toBeLessThan(TAIL_BYTES)
    for (const piece of [1, 7, 4096, TAIL_BYTES, 20_000]) expect(tailOf(bytes, piece)).toBe(want)
    const one = Buffer.alloc(TAIL_BYTES * 2, 'x')
    expect(tailOf(one, 1000)).toBe('x'.repeat(TAIL_BYTES))
    expect(tailOf(Buffer.concat([one, Buffer.from('\n')]), 1000)).toBe(`${'x'.repeat(TAIL_BYTES - 1)}\n`)
    expect([tailOf(Buffer.from('a\nb'), 1), tailOf(Buffer.alloc(0), 1)]).toEqual(['a\nb', ''])
  })
})
