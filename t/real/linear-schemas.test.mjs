/*
 * The same of schemas, in each place where a request may have one.
 */

import { shapes } from '../lib/shapes.mjs';
import { holdShapes } from './lib/linear.mjs';

holdShapes(shapes.filter(({ heavy }) => heavy));
