// The floor: the plainest program that reads each file of a folder, hashes it with SHA-256, appends it to one file and flushes once.
import * as crypto from 'node:crypto'
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'

const [folder, target] = process.argv.slice(2)
const out = openSync(target, 'w')
const oids = []
walk(folder)
fsyncSync(out)
closeSync(out)
console.log(oids.length)

function walk(path) {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const name = `${path}/${entry.name}`
    if (entry.isDirectory()) walk(name)
    else {
      const bytes = readFileSync(name)
      oids.push(crypto.hash('sha256', bytes))
      writeSync(out, bytes)
    }
  }
}
