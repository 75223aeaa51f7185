/*
 * What a request costs until its turn is made is linear in its bytes, whatever its shape: messages,
 * calls, values, members, strings; here, and at a front nginx that needs $claude_conversation alone.
 */

import { fronts, shapes } from '../lib/shapes.mjs';
import { holdShapes } from './lib/linear.mjs';

holdShapes([...shapes.filter(({ heavy }) => !heavy), ...fronts]);
