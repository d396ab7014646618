// Leaves out penguins with a missing measurement and splits the rest into rows to learn from and rows to test on.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readParams } from './read-params.mjs'

const FEATURES = ['Beak Length (mm)', 'Beak Depth (mm)', 'Flipper Length (mm)', 'Body Mass (g)']

const { seed, test_share: testShare } = readParams('prepare')
const penguins = JSON.parse(readFileSync('data/penguins.json', 'utf8'))
const rows = penguins
  .filter((penguin) => FEATURES.every((name) => typeof penguin[name] === 'number'))
  .map((penguin) => ({ species: penguin.Species, features: FEATURES.map((name) => penguin[name]) }))

const shuffled = shuffle(rows, seed)
const testCount = Math.round(shuffled.length * testShare)
mkdirSync('prepared', { recursive: true })
write('prepared/test.json', shuffled.slice(0, testCount))
write('prepared/train.json', shuffled.slice(testCount))
console.log(
  `${penguins.length} penguins: ${rows.length - testCount} to learn from, ${testCount} to test on, ${penguins.length - rows.length} incomplete`,
)

function write(path, rows) {
  writeFileSync(path, `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]\n`)
}

/** Fisher-Yates with mulberry32, so that one seed gives one split on every machine. */
function shuffle(items, seed) {
  const result = [...items]
  let state = seed
  const random = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[result[i], result[j]] = [result[j], result[i]]
  }
  return result
}
