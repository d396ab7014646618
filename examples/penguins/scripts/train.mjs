// Softmax regression by gradient descent on all rows at once, from zero weights: no chance in it, so one input gives one model.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { predict } from './predict.mjs'
import { readParams } from './read-params.mjs'

const { lr, epochs, l2 } = readParams('train')
const rows = JSON.parse(readFileSync('prepared/train.json', 'utf8'))
const classes = [...new Set(rows.map((row) => row.species))].sort()
const columns = rows[0].features.map((_, i) => rows.map((row) => row.features[i]))
const means = columns.map(mean)
const model = {
  classes,
  means,
  deviations: columns.map((column, i) => Math.sqrt(mean(column.map((value) => (value - means[i]) ** 2)))),
  weights: classes.map(() => means.map(() => 0)),
  biases: classes.map(() => 0),
}

const losses = []
for (let epoch = 1; epoch <= epochs; epoch++) losses.push({ epoch, loss: round(step()) })

mkdirSync('models', { recursive: true })
mkdirSync('plots', { recursive: true })
writeFileSync(
  'models/model.json',
  `${JSON.stringify(model, (_, value) => (typeof value === 'number' ? round(value) : value), 2)}\n`,
)
writeFileSync('plots/loss.jsonl', losses.map((line) => `${JSON.stringify(line)}\n`).join(''))
console.log(`${epochs} epochs: loss ${losses[0].loss} → ${losses.at(-1).loss}`)

/** One step down the gradient. Answers the loss before it. */
function step() {
  const weightSlopes = model.weights.map((weights) => weights.map((weight) => l2 * weight))
  const biasSlopes = classes.map(() => 0)
  let loss = 0
  for (const { species, features } of rows) {
    const probabilities = predict(model, features)
    loss -= Math.log(probabilities[classes.indexOf(species)]) / rows.length
    classes.forEach((name, k) => {
      const error = (probabilities[k] - (name === species ? 1 : 0)) / rows.length
      biasSlopes[k] += error
      features.forEach((value, i) => {
        weightSlopes[k][i] += (error * (value - model.means[i])) / model.deviations[i]
      })
    })
  }
  model.weights.forEach((weights, k) => {
    weights.forEach((_, i) => {
      weights[i] -= lr * weightSlopes[k][i]
    })
    model.biases[k] -= lr * biasSlopes[k]
  })
  return loss
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Six digits: the last ones of Math.exp differ between versions of Node. */
function round(value) {
  return Number(value.toPrecision(6))
}
