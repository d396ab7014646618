import { writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { oidOfBytes } from '../../src/base/oid.ts'
import { openStore } from '../../src/store/open-store.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { noise } from '../store/noise.ts'

/** Fills the cache named as argument with small and large objects, and says when it begins; `list` prints what that is. To be killed. */
const contents = [
  ...Array.from({ length: 2000 }, (_, i) => noise(`small ${i}`, 20 + i)),
  ...Array.from({ length: 2 }, (_, i) => noise(`large ${i}`, 12 << 20)),
]
const [root] = process.argv.slice(2)

if (root === 'list') process.stdout.write(JSON.stringify(contents.map(oidOfBytes)))
else {
  const store = await openStore(createDirBlobs({ root: root!, trustOids: true }), { role: 'cache', purpose: 'write' })
  process.stdout.write('begun\n')
  const writer = store.writer()
  for (const bytes of contents) {
    const oid = oidOfBytes(bytes)
    if (store.has(oid)) continue
    if (bytes.length < 1 << 20) await writer.add(oid, bytes)
    else {
      writeFileSync(`${root}.source`, bytes)
      const source = await open(`${root}.source`)
      await store.loose!.storeFile(source)
      await source.close()
    }
  }
  store.loose!.flush()
  await writer.finish()
}
