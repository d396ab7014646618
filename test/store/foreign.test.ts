import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hasCode } from '../../src/base/errors.ts'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { FOREIGN, type ForeignPlace, formatForeign, parseForeign } from '../../src/store/foreign.ts'
import { formatDescription, newDescription, parseDescription } from '../../src/store/layout.ts'
import { openStore } from '../../src/store/open-store.ts'
import { applyTransfer, planTransfer } from '../../src/store/transfer.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { makeFolder } from '../helpers/repo.ts'

const oid = 'ab'.repeat(32) as Oid
const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
const some = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
const place: fc.Arbitrary<ForeignPlace> = fc.record({
  bucket: text,
  key: text,
  size: fc.nat(),
  version: some(text),
  etag: some(text),
  endpoint: some(text),
  region: some(text),
  path_style: some(fc.boolean()),
})

describe('where an object lies in a bucket of its own', () => {
  it('is one line of text that reads back', () => {
    fc.assert(
      fc.property(place, (at) => {
        const line = formatForeign(at)
        expect(line.indexOf('\n')).toBe(line.length - 1)
        expect(formatForeign(parseForeign(Buffer.from(line), oid, at.size))).toBe(line)
      }),
    )
  })

  it('is refused where it is not just that', () => {
    const line = formatForeign({ bucket: 'b', key: 'k', size: 3 })
    expect(line).toBe('{"mlv_foreign":1,"bucket":"b","key":"k","size":3}\n')
    const wrong = [
      '',
      'null\n',
      '[]\n',
      '{}\n',
      line.trimEnd(),
      `${line} `,
      line.replace('3', '4'),
      line.replace('1', '2'),
      line.replace('"b"', '7'),
      line.replace('"k"', '""'),
      line.replace('}', ',"more":1}'),
      line.replace('}', ',"path_style":"yes"}'),
      line.replace('}', ',"version":[]}'),
    ]
    for (const text of wrong) expect(() => parseForeign(Buffer.from(text), oid, 3), text).toThrow(/malformed/)
  })

  it('is known to this program, and refused by one that does not know it', () => {
    const description = { ...newDescription(), read_requires: [FOREIGN] }
    expect(parseDescription(Buffer.from(formatDescription(description)), 'x', 'write').read_requires).toEqual([FOREIGN])
    const newer = { ...description, read_requires: [FOREIGN, 'tomorrow'] }
    expect(() => parseDescription(Buffer.from(formatDescription(newer)), 'x', 'read')).toThrow(/newer mlv \(tomorrow\)/)
  })

  it('counts as present in a remote and not in a cache, gives way to the bytes, and is hashed when read', async () => {
    const bytes = Buffer.from('in its own bucket')
    const id = oidOfBytes(bytes)
    let there: Buffer = bytes
    async function* foreign(): AsyncGenerator<Buffer> {
      yield there
    }
    const open = (role: 'cache' | 'remote') =>
      openStore(createDirBlobs({ root: makeFolder().dir }), { role, purpose: 'write', foreign })
    const [cache, remote, other] = [await open('cache'), await open('remote'), await open('cache')]
    await cache.requireFeature(FOREIGN)
    await cache.requireFeature(FOREIGN)
    const writer = cache.writer()
    await writer.addForeign(id, { bucket: 'b', key: 'k', size: bytes.length })
    await writer.finish()
    expect([cache.has(id), cache.refersTo(id)]).toEqual([false, true])
    expect(await cache.read(id)).toEqual(bytes)

    const wanted = [{ oid: id, size: bytes.length }]
    const sent = await applyTransfer(planTransfer(cache, remote, wanted), cache, remote)
    expect(sent).toMatchObject({ objects: 1, bytes: 0, failed: [] })
    expect([remote.has(id), remote.refersTo(id), remote.description.read_requires]).toEqual([true, true, [FOREIGN]])
    expect(planTransfer(cache, remote, wanted).foreign).toEqual([])

    there = Buffer.from('somebody else was')
    const refused = await applyTransfer(planTransfer(remote, other, wanted), remote, other)
    expect(refused.failed.map(({ error }) => hasCode(error, 'OBJECT_CORRUPT'))).toEqual([true])
    expect(other.has(id)).toBe(false)
    there = bytes
    const got = await applyTransfer(planTransfer(remote, other, wanted), remote, other)
    expect(got).toMatchObject({ objects: 1, bytes: bytes.length, failed: [] })
    expect([other.has(id), other.refersTo(id)]).toEqual([true, false])
    await applyTransfer(planTransfer(cache, cache, wanted), cache, cache)
    expect([cache.has(id), cache.refersTo(id)]).toEqual([true, false])
  })
})
