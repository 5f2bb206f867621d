//! Named tensors as a safetensors file.

use super::any::each;
use super::dtype::{Dtype, encode};
use super::header::{self, Entry, Header, METADATA};
use super::{AnyTensor, file, write_atomically};
use crate::element::{DType, Element};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes that are read or written at a time: a multiple of every element's size.
const STEP: usize = 1 << 16;

/// What a safetensors file holds: tensors with names, and texts with names.
#[derive(Clone, Debug)]
pub struct TensorFile {
    path: PathBuf,
    /// The tensors, in their order in the file.
    pub tensors: Vec<(String, AnyTensor)>,
    /// The texts (`__metadata__`).
    pub metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// The tensor with this name.
    ///
    /// # Errors
    /// [`Error::MissingKeys`] when there is none, [`Error::KeyDtype`] when its elements are not `T`.
    pub fn get<T: Element>(&self, name: &str) -> Result<Tensor<T>> {
        let tensor = self.tensors.iter().find(|(found, _)| found == name);
        let (_, tensor) = tensor.ok_or_else(|| Error::missing_keys(&self.path, vec![name.into()]))?;
        tensor.get().ok_or_else(|| Error::key_dtype(&self.path, name, T::DTYPE, tensor.dtype()))
    }

    /// The text with this name.
    ///
    /// # Errors
    /// [`Error::MissingKeys`] when there is none.
    pub fn text(&self, name: &str) -> Result<&str> {
        let text = self.metadata.get(name).map(String::as_str);
        text.ok_or_else(|| Error::missing_keys(&self.path, vec![format!("{METADATA}.{name}")]))
    }
}

/// Writes named tensors, of any shape and element type, as a safetensors file, which is replaced as a whole
/// ([`write_atomically`]); and texts, its metadata.
///
/// ```
/// use std::collections::BTreeMap;
/// use wengert::{Tensor, io};
/// # let path = std::env::temp_dir().join(format!("wengert-doc-tensors-{}.safetensors", std::process::id()));
/// let tensors = [("x", Tensor::from([1.5_f32, 2.5]).into()), ("label", Tensor::from(7_i64).into())];
/// let metadata = BTreeMap::from([("epoch".to_string(), "3".to_string())]);
/// io::save_tensors(&path, &tensors, &metadata)?;
///
/// let file = io::load_tensors(&path)?;
/// assert_eq!(file.get::<f32>("x")?.to_vec(), [1.5, 2.5]);
/// assert_eq!(file.text("epoch")?, "3");
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), wengert::Error>(())
/// ```
///
/// # Errors
/// When a name stands twice (or is `__metadata__`, which the format keeps for itself), or the file cannot be written.
pub fn save_tensors(
    path: impl AsRef<Path>,
    tensors: &[(impl AsRef<str>, AnyTensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let tensors = tensors.iter().map(|(name, x)| (name.as_ref(), Dtype::of(x.dtype()), x)).collect();
    save_listed(path.as_ref(), tensors, metadata)
}

fn save_listed(
    path: &Path,
    tensors: Vec<(&str, Dtype, &AnyTensor)>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    distinct(path, tensors.iter().map(|(name, ..)| *name))?;
    // Large elements first: then each stands at a multiple of its size.
    let of_size = |bits| tensors.iter().filter(move |(_, dtype, _)| dtype.bits() == bits);
    let tensors: Vec<_> = [64, 32, 16, 8].into_iter().flat_map(of_size).collect();
    let header = header::write(tensors.iter().map(|(name, dtype, x)| (*name, *dtype, x.shape())), metadata);
    write_atomically(path, |out| {
        out.write_all(&header)?;
        let mut bytes = Vec::new();
        for (_, _, tensor) in &tensors {
            each!(tensor, x => {
                for elements in x.packed().elements().chunks(STEP / 8) {
                    bytes.clear();
                    encode(elements, &mut bytes);
                    out.write_all(&bytes)?;
                }
            });
        }
        Ok(())
    })
}

/// Finds that no name stands for two things.
pub(super) fn distinct<'a>(path: &Path, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let names: Vec<&str> = names.chain([METADATA]).collect();
    let order = header::in_order(names.len(), &|i, j| names[i].cmp(names[j]));
    let name = |i: u32| names[i as usize];
    let mut twice: Vec<String> =
        order.windows(2).filter(|pair| name(pair[0]) == name(pair[1])).map(|pair| name(pair[0]).into()).collect();
    twice.dedup();
    if twice.is_empty() { Ok(()) } else { Err(Error::duplicate_keys(path, twice)) }
}

/// Reads every tensor of a safetensors file.
///
/// F32, F64, I64, U8 and BOOL keep their element type; F16 and BF16 become `f32`, which holds all their values.
///
/// # Errors
/// When the file is missing, is not a regular file, is not exactly one intact safetensors file, names a tensor twice, or
/// has a tensor of another element type ([`Error::KeyDtype`]). No file, however broken, makes this allocate more than
/// its own length and what its tensors fill.
pub fn load_tensors(path: impl AsRef<Path>) -> Result<TensorFile> {
    load_listed(path.as_ref())
}

fn load_listed(path: &Path) -> Result<TensorFile> {
    let (Header { entries, metadata, .. }, mut reader) = Reader::open(path)?;
    if let Some(entry) = entries.iter().find(|entry| entry.dtype.ours().is_none()) {
        let expected = "F32, F64, F16, BF16, I64, U8 or BOOL";
        return Err(Error::key_dtype(path, &*entry.name, expected, entry.dtype));
    }
    let mut tensors = Vec::with_capacity(entries.len());
    for entry in entries {
        let tensor = match entry.dtype.ours() {
            Some(DType::F32) => reader.read::<f32>(&entry)?.into(),
            Some(DType::F64) => reader.read::<f64>(&entry)?.into(),
            Some(DType::I64) => reader.read::<i64>(&entry)?.into(),
            Some(DType::U8) => reader.read::<u8>(&entry)?.into(),
            _ => reader.read::<bool>(&entry)?.into(),
        };
        tensors.push((entry.name.into(), tensor));
    }
    Ok(TensorFile { path: path.to_owned(), tensors, metadata })
}

/// A safetensors file whose header has been read.
pub(super) struct Reader<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Reader<'a> {
    pub fn open(path: &'a Path) -> Result<(Header, Reader<'a>)> {
        let (mut file, length) = file::open(path, "a safetensors file")?;
        let header = Header::read(path, &mut file, length)?;
        Ok((header, Reader { path, file }))
    }

    /// The tensor of an entry whose element type reads as `T`.
    #[inline(never)]
    pub fn read<T: Element>(&mut self, entry: &Entry) -> Result<Tensor<T>> {
        let bytes = entry.shape.iter().product::<usize>().saturating_mul(size_of::<T>());
        // A sparse file may be as long as it says and yet exceed the memory; asked this way, that is no abort.
        Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| {
            Error::io(
                self.path,
                format!("{bytes} bytes of memory for {}", entry.name),
                io::ErrorKind::OutOfMemory.into(),
            )
        })?;
        let mut result = Ok(());
        let tensor = Tensor::build(&*entry.shape, |y| result = self.fill(entry, y));
        result.map(|()| tensor)
    }

    fn fill<T: Element>(&mut self, entry: &Entry, y: &mut [T]) -> Result<()> {
        let path = self.path;
        let bytes = entry.bytes();
        let mut buffer = vec![0; bytes.min(STEP as u64) as usize];
        let mut place = entry.begin;
        self.file.seek(SeekFrom::Start(place)).map_err(|e| Error::io(path, "a safetensors file", e))?;
        for y in y.chunks_mut(STEP / 8) {
            let buffer = &mut buffer[..y.len() * entry.dtype.bits() / 8];
            self.file.read_exact(buffer).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => {
                    Error::malformed(path, place, format!("{bytes} bytes of {}", entry.name), "a file cut short")
                }
                _ => Error::io(path, "a safetensors file", e),
            })?;
            entry.dtype.decode(buffer, y).map_err(|wrong| {
                let expected = format!("0 or 1, a truth value of {}", entry.name);
                Error::malformed(path, place + wrong as u64, expected, buffer[wrong])
            })?;
            place += buffer.len() as u64;
        }
        Ok(())
    }
}
