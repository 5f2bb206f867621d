//! The header of a safetensors file: eight bytes with its length (little-endian), then JSON that says of every tensor its
//! element type, its shape and where its bytes stand behind the header.
//!
//! Read with a parser of its own rather than a general one: it sees a name that stands twice, knows the byte of every
//! fault, and holds no more memory than the header itself fills.

use super::dtype::Dtype;
use super::json::{Json, write_string};
use crate::error::{Error, Result};
use crate::shape::MAX_RANK;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

pub(super) const METADATA: &str = "__metadata__";
const LENGTH_BYTES: u64 = 8;
/// What the format's own reader takes at most.
const MAX_HEADER: u64 = 100_000_000;

/// What the file says of one tensor. Kept below [`SMALLEST`] bytes, so that the list of them fits into the file's length.
pub(super) struct Entry {
    pub name: Box<str>,
    pub shape: Box<[usize]>,
    /// Where the elements begin, as an offset into the file.
    pub begin: u64,
    /// Where the name stands, as an offset into the file.
    place: u32,
    pub dtype: Dtype,
}

/// The fewest bytes that one tensor takes in the header: `"":{"dtype":"U8","shape":[],"data_offsets":[0,0]},`.
const SMALLEST: usize = 50;
const _: () = assert!(size_of::<Entry>() <= SMALLEST);

impl Entry {
    /// The bytes of the elements.
    pub fn bytes(&self) -> u64 {
        size(&self.shape, self.dtype).expect("checked when the header was read")
    }
}

/// The bytes of a tensor: `None` when they are more than can be addressed or are not whole.
///
/// A tensor without elements must have strides that can be addressed all the same.
fn size(shape: &[usize], dtype: Dtype) -> Option<u64> {
    let elements = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim.max(1)))?;
    let bits = elements.checked_mul(dtype.bits()).filter(|bits| bits % 8 == 0 && bits / 8 <= isize::MAX as usize)?;
    Some(if shape.contains(&0) { 0 } else { bits as u64 / 8 })
}

/// A header, found to agree with itself and with the file's length.
pub(super) struct Header {
    /// In the order of their elements in the file.
    pub entries: Vec<Entry>,
    pub metadata: BTreeMap<String, String>,
    /// The places of the entries in the order of their names.
    by_name: Vec<u32>,
}

impl Header {
    /// Reads the header of a file of `length` bytes.
    pub fn read(path: &Path, file: &mut impl Read, length: u64) -> Result<Header> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::malformed(path, None, "a file that keeps its length", "it cut short")
            }
            _ => Error::io(path, "a safetensors file", e),
        };
        if length < LENGTH_BYTES {
            let expected = "a safetensors file, which begins with the 8 bytes of its header's length";
            return Err(Error::malformed(path, 0, expected, format!("{length} bytes")));
        }
        let mut header_length = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut header_length).map_err(failed)?;
        let header_length = u64::from_le_bytes(header_length);
        let most = (length - LENGTH_BYTES).min(MAX_HEADER);
        if header_length > most {
            return Err(Error::malformed(path, 0, format!("a header of at most {most} bytes"), header_length));
        }
        let mut text = vec![0; header_length as usize];
        file.read_exact(&mut text).map_err(failed)?;
        let text = str::from_utf8(&text).map_err(|e| {
            Error::malformed(path, LENGTH_BYTES + e.valid_up_to() as u64, "UTF-8", "bytes that are none")
        })?;
        let mut header = Header::parse(path, text)?;
        header.check_names(path)?;
        header.check_places(path, LENGTH_BYTES + header_length, length)?;
        Ok(header)
    }

    /// The tensor with this name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let place = self.by_name.binary_search_by(|&i| (*self.entries[i as usize].name).cmp(name)).ok()?;
        Some(&self.entries[self.by_name[place] as usize])
    }

    fn parse(path: &Path, text: &str) -> Result<Header> {
        let mut entries = Vec::with_capacity(text.len() / SMALLEST);
        let mut metadata = None;
        let mut json = Json::new(path, text, LENGTH_BYTES);
        json.object("a header, which begins with a brace", |json, name, place| {
            if name != METADATA {
                entries.push(parse_entry(path, json, &name, place)?);
            } else if metadata.is_some() {
                return Err(Error::duplicate_keys(path, vec![METADATA.into()]));
            } else {
                metadata = Some(parse_metadata(path, json)?);
            }
            Ok(())
        })?;
        json.end()?;
        Ok(Header { entries, metadata: metadata.unwrap_or_default(), by_name: Vec::new() })
    }

    /// Sorts by place in the file and finds that the tensors follow each other without gap or overlap up to the end.
    ///
    /// Begins are offsets from the header's end (`data`) before and from the file's begin after.
    fn check_places(&mut self, path: &Path, data: u64, length: u64) -> Result<()> {
        let mut end = 0;
        let place = |entry: &Entry| (entry.begin, entry.bytes());
        for &i in &in_order(self.entries.len(), &|i, j| place(&self.entries[i]).cmp(&place(&self.entries[j]))) {
            let entry = &mut self.entries[i as usize];
            if entry.begin != end {
                let expected = format!("{} to begin at {end}, where the tensor before it ends", entry.name);
                return Err(Error::malformed(path, u64::from(entry.place), expected, entry.begin));
            }
            // Cannot overflow: the end was read as a `u64` and agrees with the size.
            end += entry.bytes();
            entry.begin = data.saturating_add(entry.begin);
        }
        let found = length - data;
        if end != found {
            return Err(Error::malformed(path, data, format!("{end} bytes of tensors up to the end"), found));
        }
        self.entries.sort_unstable_by_key(|entry| (entry.begin, entry.bytes()));
        self.by_name = self.names_in_order();
        Ok(())
    }

    fn names_in_order(&self) -> Vec<u32> {
        in_order(self.entries.len(), &|i, j| self.entries[i].name.cmp(&self.entries[j].name))
    }

    /// Finds that no name stands twice.
    fn check_names(&self, path: &Path) -> Result<()> {
        let by_name = self.names_in_order();
        let name = |i: u32| &*self.entries[i as usize].name;
        let mut twice: Vec<String> = Vec::new();
        for pair in by_name.windows(2) {
            if name(pair[0]) == name(pair[1]) && twice.last().is_none_or(|last| last != name(pair[0])) {
                twice.push(name(pair[0]).into());
            }
        }
        if twice.is_empty() { Ok(()) } else { Err(Error::duplicate_keys(path, twice)) }
    }
}

/// The numbers below `count` in an order. Not generic: a sort is long to compile.
pub(super) fn in_order(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<u32> {
    let mut places: Vec<u32> = (0..count as u32).collect();
    places.sort_unstable_by(|&i, &j| compare(i as usize, j as usize));
    places
}

fn parse_entry(path: &Path, json: &mut Json, name: &str, place: u64) -> Result<Entry> {
    let (mut dtype, mut shape, mut offsets) = (None, None, None);
    json.object("a tensor's dtype, shape and data_offsets", |json, member, at| {
        let twice = match &*member {
            "dtype" => {
                let at = json.offset();
                let found = json.string("an element type")?;
                let known = Dtype::named(&found)
                    .ok_or_else(|| Error::malformed(path, at, "an element type, such as F32", shown(&found)))?;
                dtype.replace(known).is_some()
            }
            "shape" => shape.replace(parse_shape(path, json)?).is_some(),
            "data_offsets" => offsets.replace(parse_offsets(path, json)?).is_some(),
            other => {
                return Err(Error::malformed(path, at, "one of dtype, shape, data_offsets", shown(other)));
            }
        };
        if twice { Err(Error::malformed(path, at, format!("{member} once"), "it a second time")) } else { Ok(()) }
    })?;
    let (Some(dtype), Some(shape), Some((begin, end))) = (dtype, shape, offsets) else {
        let expected = format!("dtype, shape and data_offsets of {}", shown(name));
        return Err(Error::malformed(path, place, expected, "not all of them"));
    };
    let size = size(&shape, dtype);
    if size.is_none() || end.checked_sub(begin) != size {
        let size = size.map_or("a size that can be addressed".into(), |size| format!("{size} bytes"));
        let expected = format!("{size} for {} of type {dtype} and shape {shape:?}", shown(name));
        return Err(Error::malformed(path, place, expected, format!("data_offsets [{begin}, {end}]")));
    }
    let place = u32::try_from(place).expect("a header is shorter than 2^32 bytes");
    Ok(Entry { name: name.into(), shape, begin, place, dtype })
}

fn parse_shape(path: &Path, json: &mut Json) -> Result<Box<[usize]>> {
    let mut dims = [0; MAX_RANK];
    let mut rank = 0;
    json.array("a shape", |json| {
        let at = json.offset();
        let size = json.number("a size")?;
        if rank == MAX_RANK {
            return Err(Error::malformed(path, at, format!("at most {MAX_RANK} dimensions"), "one more"));
        }
        dims[rank] = usize::try_from(size).map_err(|_| Error::malformed(path, at, "a size below 2^32", size))?;
        rank += 1;
        Ok(())
    })?;
    Ok(dims[..rank].into())
}

fn parse_offsets(path: &Path, json: &mut Json) -> Result<(u64, u64)> {
    let (mut offsets, mut count) = ([0; 2], 0);
    let at = json.offset();
    json.array("two offsets", |json| {
        let offset = json.number("an offset")?;
        if let Some(place) = offsets.get_mut(count) {
            *place = offset;
        }
        count += 1;
        Ok(())
    })?;
    if count != 2 {
        return Err(Error::malformed(path, at, "two offsets", count));
    }
    Ok((offsets[0], offsets[1]))
}

fn parse_metadata(path: &Path, json: &mut Json) -> Result<BTreeMap<String, String>> {
    let mut metadata = BTreeMap::new();
    json.object("metadata, names with a text each", |json, name, at| {
        let text = json.string("a text")?;
        match metadata.insert(name.to_string(), text.into_owned()) {
            None => Ok(()),
            Some(_) => Err(Error::malformed(path, at, format!("{} once", shown(&name)), "it a second time")),
        }
    })?;
    Ok(metadata)
}

/// A foreign name as part of a message: quoted, and cut where it is long.
fn shown(name: &str) -> String {
    const LONGEST: usize = 100;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}..", &name[..end]),
        None => format!("{name:?}"),
    }
}

/// A header with its length in front, for tensors whose elements follow each other in this order.
///
/// Filled up with spaces to a multiple of 8: where tensors of larger elements come first, each element then stands at a
/// multiple of its size.
pub(super) fn write<'a>(
    tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize])>,
    metadata: &BTreeMap<String, String>,
) -> Vec<u8> {
    let mut text = String::from("{");
    if !metadata.is_empty() {
        write_string(METADATA, &mut text);
        text.push_str(":{");
        for (name, value) in metadata {
            write_string(name, &mut text);
            text.push(':');
            write_string(value, &mut text);
            text.push(',');
        }
        text.pop();
        text.push_str("},");
    }
    let mut begin = 0;
    for (name, dtype, shape) in tensors {
        let end = begin + size(shape, dtype).expect("a tensor that is in memory");
        write_string(name, &mut text);
        let sizes = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        text.push_str(&format!(r#":{{"dtype":"{dtype}","shape":[{sizes}],"data_offsets":[{begin},{end}]}},"#));
        begin = end;
    }
    if text.len() > 1 {
        text.pop();
    }
    text.push('}');
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(LENGTH_BYTES as usize) - text.len()));
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}
