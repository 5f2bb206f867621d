//! A recurrent layer of the kind that the command line asks for.

use wengert::Tensor;
use wengert::nn::{Gru, GruOptions, Lstm, LstmOptions, LstmState, Module, Rnn, RnnOptions, Walk, WalkMut};

pub const CELLS: [&str; 3] = ["lstm", "gru", "rnn"];

pub enum Recurrent {
    Lstm(Lstm),
    Gru(Gru),
    Rnn(Rnn),
}

pub enum State {
    Lstm(LstmState),
    Hidden(Tensor),
}

impl State {
    /// The same, cut off from the tape.
    pub fn detach(&self) -> State {
        match self {
            State::Lstm(state) => State::Lstm(state.detach()),
            State::Hidden(h) => State::Hidden(h.detach()),
        }
    }
}

impl Recurrent {
    /// `cell` is one of [`CELLS`]; the options that all kinds have are given as an LSTM's.
    pub fn new(cell: &str, input: usize, hidden: usize, options: LstmOptions) -> Recurrent {
        let LstmOptions { layers, bias, batch_first, dropout, bidirectional, .. } = options;
        match cell {
            "gru" => {
                let options = GruOptions { layers, bias, batch_first, dropout, bidirectional };
                Recurrent::Gru(Gru::with(input, hidden, options))
            }
            "rnn" => {
                let options = RnnOptions { layers, bias, batch_first, dropout, bidirectional, ..Default::default() };
                Recurrent::Rnn(Rnn::with(input, hidden, options))
            }
            _ => Recurrent::Lstm(Lstm::with(input, hidden, options)),
        }
    }

    /// As the layers' own `forward_with`.
    pub fn forward(&self, x: &Tensor, state: Option<&State>, lengths: Option<&[usize]>) -> (Tensor, State) {
        let hidden = match state {
            Some(State::Hidden(h)) => Some(h),
            _ => None,
        };
        match self {
            Recurrent::Lstm(lstm) => {
                let before = match state {
                    Some(State::Lstm(state)) => Some(state),
                    _ => None,
                };
                let (y, state) = lstm.forward_with(x, before, lengths);
                (y, State::Lstm(state))
            }
            Recurrent::Gru(gru) => {
                let (y, h) = gru.forward_with(x, hidden, lengths);
                (y, State::Hidden(h))
            }
            Recurrent::Rnn(rnn) => {
                let (y, h) = rnn.forward_with(x, hidden, lengths);
                (y, State::Hidden(h))
            }
        }
    }
}

impl Module for Recurrent {
    fn visit(&self, walk: &mut Walk<f32>) {
        match self {
            Recurrent::Lstm(lstm) => lstm.visit(walk),
            Recurrent::Gru(gru) => gru.visit(walk),
            Recurrent::Rnn(rnn) => rnn.visit(walk),
        }
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<f32>) {
        match self {
            Recurrent::Lstm(lstm) => lstm.visit_mut(walk),
            Recurrent::Gru(gru) => gru.visit_mut(walk),
            Recurrent::Rnn(rnn) => rnn.visit_mut(walk),
        }
    }
}
