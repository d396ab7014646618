import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createFingerprint, loadFingerprint } from '../../src/base/fingerprint.ts'
import { oidOfBytes } from '../../src/base/oid.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { hashFiles, type Saving } from '../../src/workspace/hash-files.ts'
import type { KnownBytes } from '../../src/workspace/read-file.ts'
import type { StatRow } from '../../src/workspace/stat-table.ts'
import { noise } from '../store/noise.ts'

const SIZE = 5 << 20
const bytes = noise('large', SIZE)
/** An oid that the bytes do not have: whoever answers it has not hashed them. */
const otherOid = oidOfBytes('other')

let folder: string
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mlv-hash-'))
  writeFileSync(join(folder, 'large.bin'), bytes)
  await loadFingerprint()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function fingerprintOf(content: Buffer): string {
  const print = createFingerprint()
  print.update(content.subarray(0, 777))
  print.update(content.subarray(777))
  return print.digest()
}

async function openSaving(): Promise<Saving> {
  const blobs = createDirBlobs({ root: join(folder, 'cache'), trustOids: true })
  const store = await openStore(blobs, { role: 'cache', purpose: 'write' })
  return { store, writer: store.writer() }
}

async function hashOne(known?: KnownBytes, saving?: Saving): Promise<StatRow> {
  const rows: StatRow[] = []
  const file = { name: 'large.bin', path: 'large.bin', kind: 'file' as const, size: SIZE, oid: undefined, known }
  await hashFiles(folder, [file], (_file, row) => rows.push(row), { saving })
  return rows[0]!
}

describe('a large file whose times say nothing', () => {
  const known = (change: Partial<KnownBytes> = {}): KnownBytes => ({
    ...{ oid: otherOid, size: SIZE, fingerprint: fingerprintOf(bytes) },
    ...change,
  })

  test('is what it was when its fingerprint is', async () => {
    expect(await hashOne(known())).toMatchObject({ oid: otherOid, fingerprint: fingerprintOf(bytes), size: SIZE })
  })

  test('is hashed when its fingerprint or size is another, or none is known', async () => {
    for (const before of [known({ fingerprint: '0123456789abcdef' }), known({ size: SIZE - 1 }), undefined])
      expect(await hashOne(before)).toMatchObject({ oid: oidOfBytes(bytes), fingerprint: fingerprintOf(bytes) })
  })

  test('is hashed and stored when what it was is in no store', async () => {
    const saving = await openSaving()
    expect(await hashOne(known(), saving)).toMatchObject({ oid: oidOfBytes(bytes) })
    expect(saving.store.has(oidOfBytes(bytes))).toBe(true)
    expect(await hashOne(known({ oid: oidOfBytes(bytes) }), saving)).toMatchObject({ oid: oidOfBytes(bytes) })
  })
})
