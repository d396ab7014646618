import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { formatSourceFiles, parseSourceFiles, type TakenFile } from '../../src/workspace/source-files.ts'

const text = (files: Map<string, TakenFile>) => Buffer.concat([...formatSourceFiles(files)]).toString('utf8')
const file = fc.record({
  size: fc.nat(),
  version: fc.string(),
  oid: fc.string().map((seed): Oid => oidOfBytes(seed)),
})
const names = fc.string({ unit: 'grapheme', minLength: 1 }).filter((name) => Buffer.from(name).toString() === name)

describe('what an import took', () => {
  it('is read as it was written, whatever names and versions there are, and equal files give equal text', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(names, file)), (rows) => {
        const files = new Map(rows)
        expect(parseSourceFiles(text(files))).toEqual(new Map(files))
        expect(text(new Map([...files].reverse()))).toBe(text(files))
      }),
    )
  })

  it('that is no such text is nothing', () => {
    const good = text(new Map([['a', { size: 1, version: '"e"', oid: oidOfBytes('a') }]]))
    expect(parseSourceFiles(good)?.size).toBe(1)
    for (const bad of [
      '',
      'hello',
      good.slice(0, -3),
      good.replace('1', '2'),
      good.replace('["a"', '[1'),
      `${good}\n`,
      good.replace(/[0-9a-f]{64}/, 'x'),
    ])
      expect(parseSourceFiles(bad), bad).toBeUndefined()
    fc.assert(fc.property(fc.string(), (garbage) => void parseSourceFiles(`mlv-source-files 1\n${garbage}\n`)))
  })
})
