// Asks the model about penguins that it has not seen.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { predict } from './predict.mjs'

const model = JSON.parse(readFileSync('models/model.json', 'utf8'))
const rows = JSON.parse(readFileSync('prepared/test.json', 'utf8'))
const answers = rows.map(({ species, features }) => {
  const probabilities = predict(model, features)
  return {
    actual: species,
    predicted: model.classes[probabilities.indexOf(Math.max(...probabilities))],
    sure: probabilities[model.classes.indexOf(species)],
  }
})
const count = (test) => answers.filter(test).length

const metrics = {
  accuracy: round(count(({ actual, predicted }) => actual === predicted) / answers.length),
  log_loss: round(answers.reduce((sum, { sure }) => sum - Math.log(sure), 0) / answers.length),
  classes: Object.fromEntries(
    model.classes.map((name) => {
      const right = count(({ actual, predicted }) => actual === name && predicted === name)
      return [
        name,
        {
          precision: round(
            right /
              Math.max(
                1,
                count(({ predicted }) => predicted === name),
              ),
          ),
          recall: round(
            right /
              Math.max(
                1,
                count(({ actual }) => actual === name),
              ),
          ),
        },
      ]
    }),
  ),
}
const confusion = model.classes.flatMap((actual) =>
  model.classes.map((predicted) =>
    [actual, predicted, count((answer) => answer.actual === actual && answer.predicted === predicted)].join(','),
  ),
)

mkdirSync('metrics', { recursive: true })
mkdirSync('plots', { recursive: true })
writeFileSync('metrics/eval.json', `${JSON.stringify(metrics, null, 2)}\n`)
writeFileSync('plots/confusion.csv', `actual,predicted,count\n${confusion.join('\n')}\n`)
console.log(`accuracy ${metrics.accuracy}, log loss ${metrics.log_loss}, on ${rows.length} penguins`)

function round(value) {
  return Number(value.toPrecision(6))
}
