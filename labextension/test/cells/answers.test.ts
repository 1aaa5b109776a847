import { expect, test } from '@jest/globals';

import { type AnswerFacts, answerText, blockLabel, cellSource, codeBlocks, markdownOf, others, readFacts, runnable, sandboxSource } from '../../src/cells/answers';
import type { InstanceView } from '../../src/kernel/model';
import { instance, warmModel } from '../fakes/views';

const whole: AnswerFacts = { state: 'whole', model: 'llama3.2', instance: 'north', note: '' };
const lines = (count: number): string => `${count} lines`;
const having = (id: string, models: string[], warm: string[] = []): InstanceView => instance({ id, models, warm: warm.map(warmModel) });

test('an answer is known by what the kernel says of it', () => {
  expect(readFacts({ gleitzeit_nb: { model: 'llama3.2', instance: 'north', tokens: 3 } })).toEqual(whole);
  expect(readFacts({ gleitzeit_nb: { state: 'arriving' } })).toEqual({ state: 'arriving', model: '', instance: '', note: '' });
  expect(readFacts({ gleitzeit_nb: { state: 'cut', note: 'interrupted' } })?.note).toBe('interrupted');
});

test('several answers are one output of one model', () => {
  const answers = [{ ended: 'NoInstanceError' }, { model: 'llama3.2', instance: 'north' }, { model: 'llama3.2', instance: 'south' }];
  expect(readFacts({ gleitzeit_nb: { answers } })).toEqual({ ...whole, instance: '' });
  expect(readFacts({ gleitzeit_nb: { answers: [{ ended: 'interrupted' }] } })).toBeNull();
  expect(markdownOf({ 'text/html': '<p>', 'text/plain': 'both' })).toBe('both');
  expect(markdownOf({ 'text/markdown': 'this', 'text/plain': 'both' })).toBe('this');
});

test('what is not ours, or not well made, is no answer', () => {
  for (const metadata of [undefined, null, 'gleitzeit_nb', {}, { gleitzeit_nb: null }, { gleitzeit_nb: 'x' }, { gleitzeit_nb: [] }]) {
    expect(readFacts(metadata)).toBeNull();
  }
  expect(readFacts({ gleitzeit_nb: { model: 3, instance: 'north' } })).toBeNull();
  expect(readFacts({ gleitzeit_nb: { state: 'odd' } })).toBeNull();
  expect(readFacts(Object.create({ gleitzeit_nb: { model: 'a', instance: 'b' } }))).toBeNull();
});

test('names are one short line', () => {
  const facts = readFacts({ gleitzeit_nb: { model: 'a\n\u202eb\u0000c', instance: 'x'.repeat(500) } });
  expect(facts?.model).toBe('a b c');
  expect(facts?.instance).toHaveLength(80);
});

test('what is copied is what the model wrote', () => {
  const data = { 'text/plain': 'a_b\n\n- c', 'text/markdown': 'a&#95;b\n\n- c' };
  expect(answerText(data, whole)).toBe('a_b\n\n- c');
  expect(answerText({ 'text/markdown': 'so far' }, { ...whole, state: 'arriving' })).toBe('so far');
  expect(answerText({ 'text/plain': 'so far\n(interrupted)' }, { ...whole, state: 'cut', note: 'interrupted' })).toBe('so far');
  expect(answerText({}, whole)).toBe('');
});

test('of a long answer the form that holds more of it is copied', () => {
  expect(answerText({ 'text/plain': 'beginn\n… 12,345 more characters', 'text/markdown': 'all of it' }, whole)).toBe('all of it');
});

test('blocks of code are found with their languages', () => {
  const markdown = 'Text\n```python\nx = 1\n\nprint(x)\n```\nmore `inline`\n~~~ {.Bash}\nls\n~~~\n````\n```\ninner\n```\n````';
  expect(codeBlocks(markdown)).toEqual([
    { language: 'python', code: 'x = 1\n\nprint(x)' },
    { language: 'bash', code: 'ls' },
    { language: '', code: '```\ninner\n```' }
  ]);
});

test('blocks in lists and quotes lose what stands before them, and no more', () => {
  const listed = '1. do this:\n\n   ```python\n   if x:\n       y()\n\n   z\n   ```\n\n- ```py\n  a\n    b\n  ```\n> quoted\n> ```\n> c\n>  d\n> ```';
  expect(codeBlocks(listed).map(block => block.code)).toEqual(['if x:\n    y()\n\nz', 'a\n  b', 'c\n d']);
});

test('a block that is not closed ends with the text, and one without code is none', () => {
  expect(codeBlocks('```python\nx = 1')).toEqual([{ language: 'python', code: 'x = 1' }]);
  expect(codeBlocks('```\n\n```\ninline ``` fence ``` here')).toEqual([]);
});

test('many fences cost little', () => {
  const began = performance.now();
  codeBlocks('> '.repeat(20_000) + '```\n' + '- ```\n'.repeat(20_000));
  expect(performance.now() - began).toBeLessThan(5_000);
});

test('Python is what says so, else what says nothing', () => {
  const [py, none, js] = ['python', '', 'js'].map(language => ({ language, code: 'x' }));
  expect(runnable([js, none, py])).toEqual([py]);
  expect(runnable([js, none])).toEqual([none]);
  expect(runnable([js])).toEqual([]);
});

test('cells that hold blocks', () => {
  expect(cellSource({ language: 'python', code: 'x' })).toBe('x');
  expect(cellSource({ language: 'sh', code: 'ls' })).toBe('%%bash\nls');
  expect(sandboxSource([{ language: '', code: '\nx = 1\n' }, { language: 'python', code: 'print(x)' }])).toBe('%%sandbox\nx = 1\n\nprint(x)');
});

test('a label is one short line', () => {
  const label = blockLabel({ language: 'python', code: `\n${'x'.repeat(100)}\ny` }, 1, lines);
  expect(label).toBe(`2: python, 3 lines: ${'x'.repeat(39)}…`);
  expect(blockLabel({ language: '', code: 'a\tb' }, 0, lines)).toBe('1: 1 lines: a b');
});

test('those who could answer too: with the model, warm ones first, without the one that did', () => {
  const instances = [
    having('north', ['llama3.2:latest']),
    having('cold', ['llama3.2:latest', 'phi']),
    having('other', ['llama3.2:70b']),
    having('warm', ['llama3.2:latest'], ['llama3.2:latest'])
  ];
  expect(others(instances, whole).map(each => each.id)).toEqual(['warm', 'cold']);
  expect(others(instances, { ...whole, model: '', instance: '' }).map(each => each.id)).toEqual(['north', 'cold', 'other', 'warm']);
});

test('a name that could say something else in a magic line is not offered', () => {
  const names = ['a b', '{x}', '-q', 'a"b', "a'b", 'a\nb', '#', '', 'fine-1.local:11434', 'größe'];
  expect(others(names.map(name => having(name, ['llama3.2'])), whole).map(each => each.id)).toEqual(['fine-1.local:11434', 'größe']);
});
